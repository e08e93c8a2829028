"""What only Kubernetes has of a function: the settings of its instances' pods, as an allowlist."""

from typing import Literal

from pydantic import Field

from funclet.api.meta import ApiModel


class Toleration(ApiModel):
    """Kubernetes' toleration of a node taint (core/v1 Toleration)."""

    key: str | None = Field(default=None, max_length=316, description="Taint key; empty with Exists matches all.")
    operator: Literal["Exists", "Equal"] | None = Field(default=None, description="Exists or Equal (the default).")
    value: str | None = Field(default=None, max_length=63, description="Taint value, with Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(default=None, description="Effect.")
    toleration_seconds: int | None = Field(default=None, ge=0, description="For how long, with NoExecute.")


class LocalReference(ApiModel):
    """An object of the same namespace (core/v1 LocalObjectReference)."""

    name: str = Field(min_length=1, max_length=253, description="Its name.")


class PodSettings(ApiModel):
    """The allowlist of pod settings. Any but labels and annotations keeps the function out of the shared warm pool."""

    service_account_name: str | None = Field(
        default=None, max_length=253, description="Service account of the pod. Its token is not mounted."
    )
    node_selector: dict[str, str] = Field(default_factory=dict, max_length=32, description="Node labels to require.")
    tolerations: list[Toleration] = Field(default_factory=list, max_length=32, description="Taints to tolerate.")
    runtime_class_name: str | None = Field(default=None, max_length=253, description="RuntimeClass, e.g. gvisor.")
    image_pull_secrets: list[LocalReference] = Field(
        default_factory=list,
        max_length=16,
        description="Secrets of the same namespace with which the registry of code.imageUri is asked.",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None,
        description="When the node asks the registry for code.imageUri. Absent: Always for the tag latest or none, "
        "else IfNotPresent, as Kubernetes has it.",
    )
    labels: dict[str, str] = Field(
        default_factory=dict, max_length=32, description="More pod labels (none under funclet.dev/)."
    )
    annotations: dict[str, str] = Field(default_factory=dict, max_length=32, description="More pod annotations.")
