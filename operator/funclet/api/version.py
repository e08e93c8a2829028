"""Version: a function's code and configuration as they are when it is published, for good.

Names and meanings are those of Lambda's PublishVersion.
"""

from typing import Literal

from pydantic import ConfigDict, Field

from funclet.api.event_invoke import EventInvokeConfig
from funclet.api.function_status import ActiveRevision
from funclet.api.meta import API_VERSION, ApiModel, Condition, ObjectMeta, StatusModel, rule, rules
from funclet.api.reference import FunctionReference


class VersionSpec(ApiModel):
    """Which function to publish, which cannot be changed, and what Lambda lets one set for a version afterwards."""

    model_config = rules(
        rule(
            # `function` is a reserved word of CEL, which Kubernetes escapes.
            "self.__function__.name == oldSelf.__function__.name && self.description == oldSelf.description"
            " && has(self.codeSha256) == has(oldSelf.codeSha256)"
            " && (!has(self.codeSha256) || self.codeSha256 == oldSelf.codeSha256)",
            "function, description and codeSha256 must stay as they are: a Version is immutable, make another one",
        )
    )

    function: FunctionReference = Field(description="The function to publish.")
    description: str = Field(default="", max_length=256, description="A sentence for people.")
    code_sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        max_length=64,
        description="Publish nothing but this code: the SHA-256 of its package as the Function's "
        "status.active.codeSha256 says it. Absent: the code that the function has.",
    )
    provisioned_concurrent_executions: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Invocations for which instances of this version are kept ready. Absent: none. It can be changed.",
    )
    event_invoke_config: EventInvokeConfig | None = Field(
        default=None,
        description="How events that were sent to this version are retried and where their records go. Absent: as the "
        "function had it when it was published. It can be changed.",
    )


class VersionStatus(StatusModel):
    """What control published.

    Reasons of the condition Ready: Published (True); FunctionNotFound, FunctionNotReady, CodeSha256Mismatch
    (False).
    """

    observed_generation: int = Field(default=0, ge=0, description="The generation that this status speaks of.")
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Ready: whether callers can invoke this version.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    version: int | None = Field(
        default=None,
        ge=1,
        description="Its number, by which it is invoked. Greater than that of every version before it, also of deleted "
        "ones. Two Versions have the same number when nothing of the function had changed in between.",
    )
    function_uid: str = Field(default="", max_length=64, description="The uid of the Function that was published.")
    snapshot: ActiveRevision | None = Field(default=None, description="What was published.")


class Version(ApiModel):
    """A snapshot of a function that can be invoked by its number."""

    model_config = ConfigDict(extra="ignore")

    api_version: Literal["funclet.dev/v1"] = API_VERSION
    kind: Literal["Version"] = "Version"
    metadata: ObjectMeta
    spec: VersionSpec
    status: VersionStatus = Field(default_factory=VersionStatus)
