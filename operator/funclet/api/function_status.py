"""The status of a Function: what control found, and what callers get."""

from typing import Any

from pydantic import Field

from funclet.api.meta import Condition, StatusModel


class ActiveLayer(StatusModel):
    """A layer in the package store."""

    sha256: str = Field(max_length=64, description="Digest of its archive.")
    size: int = Field(ge=0, description="Size of its archive in bytes.")


class ActiveRevision(StatusModel):
    """The last state of the spec that could be resolved: what callers get until the next one can be.

    Scaler, gateway and events read this and never the spec, so that a bad change leaves the function serving.
    """

    revision: str = Field(max_length=64, description="Digest of all that makes an instance: settings, code, secrets.")
    generation: int = Field(ge=0, description="The generation of the spec that this was resolved from.")
    code_sha256: str = Field(
        default="", max_length=64, description="Digest of the code package in the package store; empty with an image."
    )
    code_size: int = Field(default=0, ge=0, description="Size of the code package in bytes.")
    image_uri: str | None = Field(
        default=None, max_length=1024, description="The container image in the place of a code package."
    )
    layers: list[ActiveLayer] = Field(default_factory=list, max_length=5, description="The layers, in their order.")
    spec: dict[str, Any] = Field(
        description="The spec as resolved, without its code and layers.",
        json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    )


class FunctionStatus(StatusModel):
    """What control found.

    Reasons of the condition Ready: Resolved (True; a function scaled to zero is Ready too); InvalidSpec,
    InvalidCode, CodeNotFound, CodeUnreachable, DigestMismatch, SecretNotFound, PackageStoreUnavailable, RuntimeNotFound
    (False; the last in local mode alone).
    """

    observed_generation: int = Field(default=0, ge=0, description="The generation that this status speaks of.")
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Ready: whether the newest spec is what callers get.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    active: ActiveRevision | None = Field(default=None, description="What callers get now.")
    last_version: int = Field(
        default=0, ge=0, description="The number of the last version that was published; numbers never come again."
    )
    instances: int = Field(default=0, ge=0, description="Instances that serve this function, a few seconds old.")
