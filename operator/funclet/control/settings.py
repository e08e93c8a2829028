"""The settings of the role control."""

from typing import Self

from pydantic import Field, model_validator

from funclet.adapters.settings import RoleSettings


class ControlSettings(RoleSettings):
    """Read once at the start, from the environment: FUNCLET_ and the upper-case name."""

    nats_url: str
    """Where JetStream is, which holds the code packages. Required."""
    port: int | None = Field(default=None, ge=0, le=65535)
    """Of the management API, which gateways pass on what callers ask. None: there is no such API."""
    internal_token: str = ""
    """What gateways prove themselves with at that port. Required with it."""
    access_key_id: str = ""
    """The key with which callers sign (AWS Signature Version 4). Required with the port."""
    secret_access_key: str = ""
    """Its secret. Required with the port."""
    region: str = "us-east-1"
    """The region in ARNs, and of SQS servers whose name does not tell theirs."""
    stream_replicas: int = Field(default=1, ge=1, le=5)
    """NATS servers that hold each code package, where this role makes their bucket."""

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        """No management API without a key: it changes whatever control may change."""
        if self.port is not None and not (self.internal_token and self.access_key_id and self.secret_access_key):
            raise ValueError("port needs internal_token, access_key_id and secret_access_key")
        return self
