"""What every resource shares: the group, the metadata that Funclet reads, conditions, and the base of all API types."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "funclet.dev"
VERSION = "v1"
API_VERSION: Final = "funclet.dev/v1"

ResourceName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""A DNS label (RFC 1123)."""


class ApiModel(BaseModel):
    """The base of all API types: camelCase on the wire, unknown fields refused, values never changed in place."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    def to_wire(self) -> dict[str, Any]:
        """This object as Kubernetes stores it: camelCase, JSON types only, absent fields left out."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


class StatusModel(ApiModel):
    """What Funclet itself writes. Unknown fields are those of a newer version, before it was rolled back: left out."""

    model_config = ConfigDict(extra="ignore")


def rule(expression: str, message: str) -> dict[str, Any]:
    """One CEL rule in the form of a `json_schema_extra` entry (Kubernetes: x-kubernetes-validations)."""
    return {"rule": expression, "message": message}


def rules(*items: dict[str, Any]) -> ConfigDict:
    """The model configuration that carries CEL rules into the generated CRD."""
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": list(items)})


class OwnerReference(BaseModel):
    """The part of Kubernetes' OwnerReference that Funclet reads."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    uid: str


class ObjectMeta(BaseModel):
    """The part of Kubernetes' ObjectMeta that Funclet reads. Unknown fields are kept out, never refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 1
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: list[OwnerReference] = Field(default_factory=list)
    finalizers: list[str] = Field(default_factory=list)


class Condition(StatusModel):
    """A standard condition (Kubernetes API conventions, "Typical status properties")."""

    type: str = Field(max_length=316, description="What this condition is about, for instance Ready.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(max_length=1024, description="One CamelCase word that says why.")
    message: str = Field(default="", max_length=32768, description="A sentence for people: what is so, and what to do.")
    last_transition_time: str = Field(description="When the status last changed (RFC 3339).")
    observed_generation: int = Field(default=0, ge=0, description="The generation of the spec that this was said of.")
