"""Revision: all that scaler, gateway and events know of a function, taken from the Function's `status.active`."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from funclet.api.code import ImageConfig
from funclet.api.event_invoke import DeadLetterConfig, EventInvokeConfig
from funclet.api.function import Environment, Function, FunctionSpec
from funclet.api.function_status import ActiveRevision
from funclet.api.pod import PodSettings
from funclet.api.version import Version
from funclet.core.images import IMAGE_RUNTIME, FunctionImage, ImageFunction
from funclet.core.messages import InitializationType
from funclet.core.qualifiers import name_of, version_of


@dataclass(frozen=True, slots=True)
class Revision:
    """One resolved state of one function. Two revisions with the same `revision` are the same in every respect."""

    key: str
    """`namespace/name`, or `namespace/name:3` for a version: its identity in every message between roles."""
    uid: str
    revision: str
    code_sha256: str
    runtime: str
    """IMAGE_RUNTIME for one that is packaged as an image."""
    handler: str
    memory_mib: int
    timeout_seconds: int
    ephemeral_storage_mib: int
    environment: Environment
    log_format: str
    concurrency_per_instance: int
    idle_timeout_seconds: int
    max_instances: int
    reserved_concurrency: int | None
    provisioned_concurrency: int
    pod: PodSettings
    event_invoke: EventInvokeConfig = field(default_factory=EventInvokeConfig)
    dead_letter: DeadLetterConfig | None = None
    recursion_allowed: bool = False
    keep_alive: Literal["Fixed", "Adaptive"] = "Fixed"
    application_log_level: str | None = None
    system_log_level: str | None = None
    layers_sha256: tuple[str, ...] = ()
    """In the order in which they are laid over one another."""
    image: FunctionImage | None = None
    """In the place of a code package."""

    @property
    def packages(self) -> tuple[str, ...]:
        """The digests of all that an instance is given: the layers, then the code. Nothing, if it is in an image."""
        return () if self.image else (*self.layers_sha256, self.code_sha256)

    @property
    def namespace(self) -> str:
        """The Kubernetes namespace."""
        return self.key.partition("/")[0]

    @property
    def name(self) -> str:
        """The function's name."""
        return name_of(self.key)

    @property
    def version(self) -> str:
        """The version's number, or $LATEST."""
        return version_of(self.key)


def stand_in(image_uri: str | None) -> dict[str, str]:
    """What takes the place of the code that a resolved spec leaves out."""
    return {"imageUri": image_uri} if image_uri else {"inline": ""}


def find_revision(function: Function) -> Revision | None:
    """What callers of this function get now; None until it could be resolved for the first time."""
    active, metadata = function.status.active, function.metadata
    return _revision(f"{metadata.namespace}/{metadata.name}", metadata.uid, active) if active else None


def find_version(version: Version, function: Revision | None) -> Revision | None:
    """What callers of this version get; None while it is not published, or when its function is no more.

    What on Lambda is of the function and of none of its versions is taken from the function as it is now. Instances
    are kept ready where the Version says so, not the function: a version that nobody calls must not cost anything.
    """
    status = version.status
    if status.snapshot is None or function is None or function.uid != status.function_uid:
        return None
    key = f"{version.metadata.namespace}/{version.spec.function.name}:{status.version}"
    revision = _revision(key, status.function_uid, status.snapshot)
    return replace(
        revision,
        reserved_concurrency=function.reserved_concurrency,
        recursion_allowed=function.recursion_allowed,
        provisioned_concurrency=version.spec.provisioned_concurrent_executions or 0,
        event_invoke=version.spec.event_invoke_config or revision.event_invoke,
    )


def _revision(key: str, uid: str, active: ActiveRevision) -> Revision:
    spec = FunctionSpec.model_validate({**active.spec, "code": stand_in(active.image_uri), "layers": []})
    image = _image(active, spec)
    return Revision(
        key=key,
        uid=uid,
        revision=active.revision,
        code_sha256=active.code_sha256,
        runtime=spec.runtime or IMAGE_RUNTIME,
        handler=spec.handler or (image.handler if image else ""),
        memory_mib=spec.memory_size,
        timeout_seconds=spec.timeout,
        ephemeral_storage_mib=spec.ephemeral_storage.size,
        environment=spec.environment,
        log_format=spec.logging_config.log_format,
        application_log_level=spec.logging_config.application_log_level,
        system_log_level=spec.logging_config.system_log_level,
        concurrency_per_instance=spec.scaling.concurrency_per_instance,
        idle_timeout_seconds=spec.scaling.idle_timeout_seconds,
        max_instances=spec.scaling.max_instances,
        reserved_concurrency=spec.reserved_concurrent_executions,
        provisioned_concurrency=spec.provisioned_concurrent_executions or 0,
        pod=spec.pod,
        event_invoke=spec.event_invoke_config,
        dead_letter=spec.dead_letter_config,
        recursion_allowed=spec.recursive_loop == "Allow",
        keep_alive=spec.scaling.keep_alive,
        layers_sha256=tuple(layer.sha256 for layer in active.layers),
        image=image,
    )


def _image(active: ActiveRevision, spec: FunctionSpec) -> FunctionImage | None:
    if active.image_uri is None:
        return None
    config = spec.image_config or ImageConfig()
    return FunctionImage(
        active.image_uri,
        None if config.entry_point is None else tuple(config.entry_point),
        None if config.command is None else tuple(config.command),
        config.working_directory,
    )


def image_function(revision: Revision, initialization_type: InitializationType = "on-demand") -> ImageFunction | None:
    """What its image's container is told; None for one without an image."""
    if revision.image is None:
        return None
    return ImageFunction(
        image=revision.image,
        name=revision.name,
        memory_mib=revision.memory_mib,
        environment=revision.environment,
        log_format=revision.log_format,
        application_log_level=revision.application_log_level,
        initialization_type=initialization_type,
        version=revision.version,
    )


SCALING_ONLY_FIELDS = (
    "description",
    "scaling",
    "reservedConcurrentExecutions",
    "provisionedConcurrentExecutions",
    "eventInvokeConfig",
    "deadLetterConfig",
    "recursiveLoop",
)
"""Fields whose change leaves running instances as they are."""


def revision_digest(uid: str, resolved_spec: dict[str, Any], packages: Sequence[str], secrets: dict[str, str]) -> str:
    """The name of a revision: sixteen hexadecimal digits over all that makes an instance what it is.

    `resolved_spec` is the spec's wire form without code and layers, whose digests are `packages`; `secrets` maps a
    Secret's name to its resource version.
    """
    instance_spec = {name: value for name, value in resolved_spec.items() if name not in SCALING_ONLY_FIELDS}
    per_instance = resolved_spec.get("scaling", {}).get("concurrencyPerInstance", 1)
    text = json.dumps([uid, instance_spec, per_instance, list(packages), secrets], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
