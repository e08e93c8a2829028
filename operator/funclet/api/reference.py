"""How other resources name a Function, which is in their own namespace."""

from pydantic import Field

from funclet.api.meta import ApiModel, ResourceName


class FunctionReference(ApiModel):
    """A Function of the same namespace."""

    name: ResourceName = Field(description="Name of the Function.")


class QualifiedReference(FunctionReference):
    """A Function of the same namespace, or one version of it."""

    qualifier: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        pattern=r"^(\$LATEST|[a-zA-Z0-9_-]+)$",
        description="A version's number or an alias. Absent: $LATEST, the function as it is now.",
    )
