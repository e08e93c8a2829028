"""The settings of the role events."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

PREFIX = "FUNCLET_"


class EventsSettings(BaseModel):
    """Read once at the start, from the environment: FUNCLET_ and the upper-case name."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    internal_token: str
    """What the roles show each other. Required."""
    nats_url: str
    """Where JetStream is. Required."""
    gateway_url: str
    """Base URL of the gateway; all invocations go through it. Required."""
    scaler_url: str
    """Base URL of the scaler, which is told of the backlog. Required."""
    watch_namespace: str | None = None
    """The one namespace to serve. None: all."""
    region: str = "us-east-1"
    """The region in the records' ARNs; give the gateway's, so that functions see one."""
    metrics_port: int = Field(default=9090, ge=0, le=65535)
    """Port of /healthz, /readyz and /metrics; 0 takes a free one."""
    log_level: str = "INFO"
    """A name of Python's `logging`."""
    stop_seconds: float = Field(default=20.0, ge=0)
    """How long running batches may take to end when the role is stopped. Shorter than a pod's grace period (30 s)."""


def read_settings(environment: Mapping[str, str]) -> EventsSettings:
    """The settings of this environment; an empty variable counts as absent."""
    values = {name: environment.get(PREFIX + name.upper(), "") for name in EventsSettings.model_fields}
    return EventsSettings.model_validate({name: value for name, value in values.items() if value})
