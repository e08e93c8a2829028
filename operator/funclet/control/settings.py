"""The settings of the role control."""

from pydantic import Field

from funclet.adapters.settings import RoleSettings


class ControlSettings(RoleSettings):
    """Read once at the start, from the environment: FUNCLET_ and the upper-case name."""

    nats_url: str
    """Where JetStream is, which holds the code packages. Required."""
    stream_replicas: int = Field(default=1, ge=1, le=5)
    """NATS servers that hold each code package, where this role makes their bucket."""
