"""What the scaler reads from its environment, each with the prefix FUNCLET_."""

from typing import Annotated

from pydantic import BeforeValidator, Field, TypeAdapter

from funclet.adapters.settings import RoleSettings

_IMAGES = TypeAdapter(dict[str, str])


def _from_text(given: object) -> object:
    return _IMAGES.validate_json(given) if isinstance(given, str) else given


RuntimeImages = Annotated[dict[str, str], BeforeValidator(_from_text)]


class ScalerSettings(RoleSettings):
    """The scaler's settings; read once, at its start."""

    internal_token: str = Field(min_length=1, repr=False)
    """What gateways and events must show."""
    instance_secret: str = Field(min_length=1, repr=False)
    """What the instances' tokens are derived from. Another secret makes all running instances unusable."""
    port: int = Field(default=8081, ge=0, le=65535)
    """Where it listens; 0 takes a free port."""
    host: str = "0.0.0.0"
    """The address it listens on."""
    nats_url: str = "nats://127.0.0.1:4222"
    """Where the code packages are."""
    stream_replicas: int = Field(default=1, ge=1, le=5)
    """NATS servers that hold each code package, where this role makes their bucket."""
    warm_pool_size: int = Field(default=2, ge=0, le=1000)
    """Generic instances for each namespace and runtime in use, at least; 0 starts each instance for its function."""
    warm_pool_maximum: int = Field(default=20, ge=0, le=1000)
    """To how many a pool may grow while demand takes much from it; a minimum that is larger wins."""
    warm_pool_memory_mib: int = Field(default=1024, ge=128, le=10240)
    """How much memory, in MiB, a generic instance may take: as much as the largest function that it may become, but no
    more than this. It requests 128 MiB all the same. A larger function begins when its instance has been resized."""
    cpu_request_percent: int = Field(default=100, ge=1, le=100)
    """What part of Lambda's share of a CPU (memory / 1,769 MiB) an instance's pod requests."""
    runtime_images: RuntimeImages = Field(default_factory=dict)
    """Runtime → image; a JSON object in the environment."""
    image_pull_policy: str = "IfNotPresent"
    """Of the runtime images."""
    region: str = "us-east-1"
    """The region in function ARNs and in the instances' environment."""
