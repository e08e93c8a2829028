"""Settings: how a role reads them from its environment, and those that every role has."""

import os
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

PREFIX = "FUNCLET_"


class RoleSettings(BaseModel):
    """Read once at the start, from the environment: FUNCLET_ and the upper-case name. Errors never show a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    watch_namespace: str | None = None
    """The one namespace to serve. None: all."""
    metrics_port: int = Field(default=9090, ge=0, le=65535)
    """Port of /healthz, /readyz and /metrics; 0 takes a free one."""
    log_level: str = "INFO"
    """A name of Python's `logging`."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The settings of this environment; an empty variable counts as absent."""
        values = {name: environment.get(PREFIX + name.upper(), "") for name in cls.model_fields}
        return cls.model_validate({name: value for name, value in values.items() if value})
