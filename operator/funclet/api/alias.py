"""Alias: a name for a version of a function, or for two that share its invocations.

Names, meanings and bounds are those of Lambda's CreateAlias.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from funclet.api.event_invoke import EventInvokeConfig
from funclet.api.meta import API_VERSION, ApiModel, Condition, ObjectMeta, StatusModel, rule, rules
from funclet.api.reference import FunctionReference

VersionNumber = Annotated[str, Field(pattern=r"^[1-9][0-9]*$", max_length=10)]
Weight = Annotated[float, Field(ge=0, le=1)]

NOT_DIGITS = "name must not be digits alone: these are the numbers of versions"
NO_WEIGHTS_FOR_LATEST = "functionVersion must be a number when routingConfig has weights: $LATEST takes no part"
ANOTHER_VERSION = "routingConfig.additionalVersionWeights must name another version than functionVersion"
NOTHING_KEPT_FOR_LATEST = (
    "functionVersion must be a number when provisionedConcurrentExecutions is given: for $LATEST the Function has it"
)
SAME_ALIAS = "function.name and name must stay as they are: make another Alias"


class RoutingConfig(ApiModel):
    """How the invocations are shared out."""

    additional_version_weights: dict[VersionNumber, Weight] = Field(
        default={},
        max_length=1,
        description='A second version by its number, and its part of the invocations, 0 to 1: {"2": 0.1} sends a '
        "tenth to version 2, and the rest to functionVersion. Each invocation is sent by chance.",
    )


class AliasSpec(ApiModel):
    """The name, and what it stands for."""

    model_config = rules(
        rule("!self.name.matches('^[0-9]+$')", NOT_DIGITS),
        rule(
            "self.functionVersion != '$LATEST' || !has(self.routingConfig.additionalVersionWeights)"
            " || size(self.routingConfig.additionalVersionWeights) == 0",
            NO_WEIGHTS_FOR_LATEST,
        ),
        rule(
            "self.functionVersion != '$LATEST' || !has(self.provisionedConcurrentExecutions)", NOTHING_KEPT_FOR_LATEST
        ),
        rule(
            "!has(self.routingConfig.additionalVersionWeights)"
            " || !(self.functionVersion in self.routingConfig.additionalVersionWeights)",
            ANOTHER_VERSION,
        ),
        # `function` is a reserved word of CEL, which Kubernetes escapes.
        rule("self.__function__.name == oldSelf.__function__.name && self.name == oldSelf.name", SAME_ALIAS),
    )

    function: FunctionReference = Field(description="The function.")
    name: str = Field(
        min_length=1,
        max_length=128,
        pattern=r"^[a-zA-Z0-9_-]+$",
        description="The alias: letters, digits, - and _, and not digits alone. Callers invoke FUNCTION:NAME.",
    )
    function_version: str = Field(
        min_length=1,
        max_length=10,
        pattern=r"^(\$LATEST|[1-9][0-9]*)$",
        description="The number of a version, as its status.version says it, in quotation marks; or $LATEST.",
    )
    description: str = Field(default="", max_length=256, description="A sentence for people.")
    routing_config: RoutingConfig = Field(
        default_factory=RoutingConfig, description="A second version for a part of the invocations. Default: none."
    )
    provisioned_concurrent_executions: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Invocations for which instances of its version are kept ready, of two versions by their weights; "
        "beside what the versions themselves have. Absent: none.",
    )
    event_invoke_config: EventInvokeConfig | None = Field(
        default=None,
        description="How events that were sent to this alias are retried and where their records go. Absent: as their "
        "version has it.",
    )

    @field_validator("name")
    @classmethod
    def _is_no_number(cls, given: str) -> str:
        if re.fullmatch("[0-9]+", given):
            raise ValueError(f"{NOT_DIGITS}, not {given!r}")
        return given

    @model_validator(mode="after")
    def _two_versions(self) -> Self:
        weights = self.routing_config.additional_version_weights
        if weights and self.function_version == "$LATEST":
            raise ValueError(NO_WEIGHTS_FOR_LATEST)
        if self.provisioned_concurrent_executions is not None and self.function_version == "$LATEST":
            raise ValueError(NOTHING_KEPT_FOR_LATEST)
        if self.function_version in weights:
            raise ValueError(f"{ANOTHER_VERSION}, not {self.function_version}")
        return self


class ActiveRoute(ApiModel):
    """What callers of an alias get until the newest spec can be followed.

    No map as in the spec: of one that loses its last entry by server-side apply, Kubernetes leaves a null.
    """

    model_config = ConfigDict(extra="ignore")

    function_version: str = Field(max_length=10, description="The number of the version, or $LATEST.")
    additional_version: str | None = Field(default=None, max_length=10, description="The number of the second version.")
    additional_weight: float | None = Field(default=None, ge=0, le=1, description="Its part of the invocations.")


class AliasStatus(StatusModel):
    """What control found.

    Reasons of the condition Ready: Resolved (True); FunctionNotFound, VersionNotFound,
    DeadLetterConfigMismatch, AliasConflict (False).
    """

    observed_generation: int = Field(default=0, ge=0, description="The generation that this status speaks of.")
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Ready: whether callers get what spec says.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    active: ActiveRoute | None = Field(default=None, description="What callers get now.")


class Alias(ApiModel):
    """A name for a version of a function, which can be pointed to another one."""

    model_config = ConfigDict(extra="ignore")

    api_version: Literal["funclet.dev/v1"] = API_VERSION
    kind: Literal["Alias"] = "Alias"
    metadata: ObjectMeta
    spec: AliasSpec
    status: AliasStatus = Field(default_factory=AliasStatus)
