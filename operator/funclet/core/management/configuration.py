"""From a Function or Version to Lambda's FunctionConfiguration."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from funclet.api.function import Function
from funclet.api.meta import Condition, ObjectMeta
from funclet.api.version import Version
from funclet.core.arn import function_arn
from funclet.core.conditions import READY, find
from funclet.core.management.annotations import LAST_MODIFIED, ROLE
from funclet.core.management.code import to_base64
from funclet.core.management.destinations import destination_arn
from funclet.core.management.function_spec import log_group, upper
from funclet.core.qualifiers import LATEST

NO_ROLE = "arn:aws:iam::000000000000:role/funclet"
"""Of a function that was not made by CreateFunction, which wants a role."""

PASSING = frozenset({"PackageStoreUnavailable", "CodeUnreachable"})
"""Reasons that say nothing against the function: control tries again."""

REASON_CODES = {"RuntimeNotFound": "InvalidRuntime", "InvalidCode": "InvalidZipFileException"}
"""Reasons of a Function's condition in Lambda's words; every other one is InvalidConfiguration."""

IMAGE_MEMBERS = ("entryPoint", "command", "workingDirectory")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an answer shows of one version of a function. `code_size` is 0 while nobody has looked at the code."""

    metadata: ObjectMeta
    version: str
    spec: Mapping[str, Any]
    code_sha256: str
    code_size: int
    role: str
    last_modified: str
    state: Mapping[str, str]
    revision_id: str


def revision_id(metadata: ObjectMeta) -> str:
    """Another one after each change of the spec."""
    made = metadata.creation_timestamp
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{metadata.uid}/{made}/{metadata.generation}"))


def lambda_time(moment: datetime) -> str:
    """A time as FunctionConfiguration has it: 2024-05-03T09:00:00.000+0000."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + moment.strftime("%z")


def snapshot_of(function: Function, size: int | None = None) -> Snapshot:
    """The function as it is now. `size`: of the archive that its spec refers to, where the caller knows it."""
    active, metadata = function.status.active, function.metadata
    sha256 = function.spec.code.package_sha256 or (active.code_sha256 if active else "")
    known = active.code_size if active and active.code_sha256 == sha256 else 0
    return Snapshot(
        metadata, LATEST, function.spec.to_wire(), sha256, known if size is None else size,
        metadata.annotations.get(ROLE, NO_ROLE), _modified(metadata), state_of(function), revision_id(metadata),
    )  # fmt: skip


def snapshot_of_version(version: Version, function: Function) -> Snapshot | None:
    """A published version; None while it is not published."""
    published, metadata = version.status.snapshot, version.metadata
    if published is None or version.status.version is None:
        return None
    spec = {**published.spec, "description": version.spec.description or published.spec.get("description", "")}
    if published.image_uri:
        spec["code"] = {"imageUri": published.image_uri}
    return Snapshot(
        function.metadata, str(version.status.version), spec, published.code_sha256, published.code_size,
        function.metadata.annotations.get(ROLE, NO_ROLE), _modified(metadata),
        {"State": "Active", "LastUpdateStatus": "Successful"}, revision_id(metadata),
    )  # fmt: skip


def _modified(metadata: ObjectMeta) -> str:
    made = lambda_time(metadata.creation_timestamp) if metadata.creation_timestamp else ""
    return metadata.annotations.get(LAST_MODIFIED, made)


def state_of(function: Function) -> dict[str, str]:
    """Lambda's State and LastUpdateStatus, with their reasons, by the condition Ready."""
    ready = find(function.status.conditions, READY)
    if ready is None or function.status.observed_generation < function.metadata.generation:
        ready = None
    if function.status.active is None:
        return {**_state(ready), **_update(ready)}
    return {"State": "Active", **_update(ready)}


def _state(ready: Condition | None) -> dict[str, str]:
    if ready is None or ready.reason in PASSING:
        reason = ready.message if ready else "The function is being created."
        return {"State": "Pending", "StateReason": reason, "StateReasonCode": "Creating"}
    return {"State": "Failed", "StateReason": ready.message, "StateReasonCode": _reason_code(ready)}


def _update(ready: Condition | None) -> dict[str, str]:
    if ready is not None and ready.status == "True":
        return {"LastUpdateStatus": "Successful"}
    if ready is None or ready.reason in PASSING:
        return {"LastUpdateStatus": "InProgress"}
    return {
        "LastUpdateStatus": "Failed",
        "LastUpdateStatusReason": ready.message,
        "LastUpdateStatusReasonCode": _reason_code(ready),
    }


def _reason_code(ready: Condition) -> str:
    return REASON_CODES.get(ready.reason, "InvalidConfiguration")


def configuration_of(shown: Snapshot, region: str, qualifier: str | None = None) -> dict[str, Any]:
    """FunctionConfiguration. `qualifier`: what the ARN is to end with."""
    metadata, spec = shown.metadata, shown.spec
    arn = function_arn(region, metadata.namespace, metadata.name, qualifier)
    answer = {
        "FunctionName": metadata.name,
        "FunctionArn": arn,
        "Role": shown.role,
        "Description": spec.get("description", ""),
        "PackageType": spec.get("packageType", "Zip"),
        "Timeout": spec["timeout"],
        "MemorySize": spec["memorySize"],
        "EphemeralStorage": {"Size": spec["ephemeralStorage"]["size"]},
        "LoggingConfig": {
            **{upper(name): value for name, value in spec["loggingConfig"].items()},
            "LogGroup": log_group(metadata.name),
        },
        "CodeSize": shown.code_size,
        "CodeSha256": to_base64(shown.code_sha256) if shown.code_sha256 else "",
        "Version": shown.version,
        "LastModified": shown.last_modified,
        "RevisionId": shown.revision_id,
        "Architectures": ["x86_64"],
        "TracingConfig": {"Mode": "PassThrough"},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        **shown.state,
    }
    return {**answer, **_optional(spec, region, metadata.namespace)}


def _optional(spec: Mapping[str, Any], region: str, namespace: str) -> dict[str, Any]:
    """Members that are there only when they say something."""
    members: dict[str, Any] = {upper(name): spec[name] for name in ("runtime", "handler") if name in spec}
    if variables := spec.get("environment", {}).get("variables"):
        members["Environment"] = {"Variables": variables}
    if image := spec.get("imageConfig"):
        config = {upper(name): image[name] for name in IMAGE_MEMBERS if name in image}
        members["ImageConfigResponse"] = {"ImageConfig": config}
    if dead := spec.get("deadLetterConfig"):
        members["DeadLetterConfig"] = {"TargetArn": destination_arn(dead["target"], region, namespace)}
    return members
