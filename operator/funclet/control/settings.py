"""The settings of the role control."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

PREFIX = "FUNCLET_"


class ControlSettings(BaseModel):
    """Read once at the start, from the environment: FUNCLET_ and the upper-case name."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    nats_url: str
    """Where JetStream is, which holds the code packages. Required."""
    watch_namespace: str | None = None
    """The one namespace to serve. None: all."""
    metrics_port: int = Field(default=9090, ge=0, le=65535)
    """Port of /healthz, /readyz and /metrics; 0 takes a free one."""
    log_level: str = "INFO"
    """A name of Python's `logging`."""


def read_settings(environment: Mapping[str, str]) -> ControlSettings:
    """The settings of this environment; an empty variable counts as absent."""
    values = {name: environment.get(PREFIX + name.upper(), "") for name in ControlSettings.model_fields}
    return ControlSettings.model_validate({name: value for name, value in values.items() if value})
