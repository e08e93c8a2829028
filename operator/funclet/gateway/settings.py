"""The gateway's settings."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

PREFIX = "FUNCLET_"


class GatewaySettings(BaseModel):
    """Read once at the start, from the environment: FUNCLET_ and the upper-case name."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    internal_token: str
    """What events presents to be exempt from the queue's length limit, and the gateway to the scaler. Required."""
    scaler_url: str
    """Base URL of the scaler. Required."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Callers' port; 0 takes a free one."""
    host: str = "0.0.0.0"
    """Address to listen on."""
    metrics_port: int = Field(default=9090, ge=0, le=65535)
    """Port of /healthz, /readyz and /metrics."""
    log_level: str = "INFO"
    """A name of Python's `logging`."""
    default_namespace: str = "default"
    """The namespace of calls whose path names none."""
    region: str = "us-east-1"
    """The region in ARNs."""
    queue_limit: int = Field(default=1000, ge=0)
    """Invocations of one function that may wait for a slot; more get 503."""
    queue_timeout_seconds: float = Field(default=60, gt=0)
    """How long an invocation may wait for a slot until it gets 503."""
    shutdown_seconds: float = Field(default=20, ge=0)
    """How long running invocations may take to end when the gateway is stopped."""
    watch_namespace: str | None = None
    """The one namespace to serve. None: all."""


def read_settings(environment: Mapping[str, str]) -> GatewaySettings:
    """The settings of this environment; an empty variable counts as absent."""
    values = {name: environment.get(PREFIX + name.upper(), "") for name in GatewaySettings.model_fields}
    return GatewaySettings.model_validate({name: value for name, value in values.items() if value})
