"""What the scaler reads from its environment, each with the prefix FUNCLET_."""

import os
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

PREFIX = "FUNCLET_"


class ScalerSettings(BaseModel):
    """The scaler's settings; read once, at its start."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    internal_token: str = Field(min_length=1, repr=False)
    """What gateways and events must show."""
    instance_secret: str = Field(min_length=1, repr=False)
    """What the instances' tokens are derived from. Another secret makes all running instances unusable."""
    port: int = Field(default=8081, ge=0, le=65535)
    """Where it listens; 0 takes a free port."""
    host: str = "0.0.0.0"
    """The address it listens on."""
    metrics_port: int = Field(default=9090, ge=0, le=65535)
    """For /healthz, /readyz and /metrics."""
    log_level: str = "INFO"
    """The least level that is logged."""
    nats_url: str = "nats://127.0.0.1:4222"
    """Where the code packages are."""
    warm_pool_size: int = Field(default=2, ge=0, le=1000)
    """Generic instances for each namespace and runtime in use; 0 starts each instance for its function."""
    runtime_images: dict[str, str] = Field(default_factory=dict)
    """Runtime → image."""
    image_pull_policy: str = "IfNotPresent"
    """Of the runtime images."""
    watch_namespace: str = ""
    """The one namespace to serve; empty serves all."""
    region: str = "us-east-1"
    """The region in function ARNs and in the instances' environment."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The settings that are given; the rest are the defaults above."""
        given: dict[str, Any] = {
            name: environment[PREFIX + name.upper()]
            for name in cls.model_fields
            if PREFIX + name.upper() in environment
        }
        if "runtime_images" in given:
            given["runtime_images"] = TypeAdapter(dict[str, str]).validate_json(given["runtime_images"] or "{}")
        return cls.model_validate(given)
