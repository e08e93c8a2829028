"""The settings of the role events."""

from pydantic import Field

from funclet.adapters.settings import RoleSettings


class EventsSettings(RoleSettings):
    """Read once at the start, from the environment: FUNCLET_ and the upper-case name."""

    internal_token: str
    """What the roles show each other. Required."""
    nats_url: str
    """Where JetStream is. Required."""
    gateway_url: str
    """Base URL of the gateway; all invocations go through it. Required."""
    scaler_url: str
    """Base URL of the scaler, which is told of the backlog. Required."""
    region: str = "us-east-1"
    """The region in the records' ARNs; give the gateway's, so that functions see one."""
    stop_seconds: float = Field(default=20.0, ge=0)
    """How long running batches may take to end when the role is stopped. Shorter than a pod's grace period (30 s)."""
