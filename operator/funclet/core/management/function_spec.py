"""From the parameters of CreateFunction and UpdateFunctionConfiguration to a Function's spec, in its wire form."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from funclet.api.function import FunctionSpec
from funclet.core.management.destinations import read_destination
from funclet.core.management.refusals import Refusal, invalid, not_there
from funclet.core.validation import problems_of

Params = Mapping[str, Any]

PLAIN = ("Runtime", "Handler", "Description", "Timeout", "MemorySize", "PackageType")
"""Parameters that the spec has under the same name, in camelCase."""

NOT_THERE = {
    "Layers": "there are no layer versions with ARNs; give archives in spec.layers of the Function resource",
    "FileSystemConfigs": "there are no file systems to mount",
    "CodeSigningConfigArn": "code is not signed",
    "CapacityProviderConfig": "instances are pods",
    "DurableConfig": "there are no durable executions",
    "RuntimeConfig": "there is nothing to set",
    "AcceleratorConfig": "there are no accelerators",
    "TenancyConfig": "instances are not divided by tenant",
    "KMSKeyArn": "what Kubernetes stores is encrypted by its own settings",
    "PublishTo": "versions are published by their numbers",
    "SourceKMSKeyArn": "packages are not encrypted by keys of their own",
}


def lower(name: str) -> str:
    """A name of Lambda's in camelCase."""
    return name[:1].lower() + name[1:]


def upper(name: str) -> str:
    """A name of the spec as Lambda writes it."""
    return name[:1].upper() + name[1:]


def check_there(params: Params) -> None:
    """Raises a Refusal for a parameter that asks for what Funclet does not have; an empty one asks for nothing."""
    for name, why in NOT_THERE.items():
        if params.get(name):
            raise not_there(name, why)
    if any((params.get("VpcConfig") or {}).get(name) for name in ("SubnetIds", "SecurityGroupIds")):
        raise not_there("VpcConfig", "instances are in the cluster's network; leave it out")
    for name, member, only, why in (
        ("TracingConfig", "Mode", "PassThrough", "the spans of invocations are exported for all functions"),
        ("SnapStart", "ApplyOn", "None", "there are no snapshots of instances"),
    ):
        if (params.get(name) or {}).get(member, only) != only:
            raise not_there(f"{name}.{member} {params[name][member]}", f"{why}; leave it out, or say {only}")
    if params.get("Architectures") not in (None, [], ["x86_64"]):
        given = ", ".join(params["Architectures"])
        raise not_there(f"Architectures {given}", "an instance runs on the nodes' own; leave it out, or say x86_64")


def changed_spec(spec: Params, params: Params, namespace: str, name: str) -> dict[str, Any]:
    """The spec of the function of this name with what the parameters say; what they leave out stays."""
    check_there(params)
    changed = {**spec, **{lower(name): params[name] for name in PLAIN if name in params}}
    if (environment := params.get("Environment")) is not None:
        changed["environment"] = {**spec.get("environment", {}), "variables": environment.get("Variables", {})}
    if (storage := params.get("EphemeralStorage")) is not None:
        changed["ephemeralStorage"] = {"size": storage["Size"]}
    if (logging := params.get("LoggingConfig")) is not None:
        changed["loggingConfig"] = _logging(spec.get("loggingConfig", {}), logging, name)
    if (image := params.get("ImageConfig")) is not None:
        changed["imageConfig"] = {lower(name): value for name, value in image.items() if value} or None
    if (dead := params.get("DeadLetterConfig")) is not None:
        changed["deadLetterConfig"] = _dead_letters(dead.get("TargetArn"), namespace)
    return {name: value for name, value in changed.items() if value is not None}


def log_group(function: str) -> str:
    """What answers show as a function's log group; there are none, its lines are its instances' standard output."""
    return f"/aws/lambda/{function}"


def _logging(before: Params, given: Params, function: str) -> dict[str, Any]:
    """Levels belong to JSON: with Text those that were there before go."""
    if given.get("LogGroup") not in (None, "", log_group(function)):
        raise not_there("LoggingConfig.LogGroup", "log lines go to the instances' standard output; leave it out")
    members = {lower(name): value for name, value in given.items() if value and name != "LogGroup"}
    return members if members.get("logFormat") == "Text" else {**before, **members}


def _dead_letters(arn: str | None, namespace: str) -> dict[str, Any] | None:
    return {"target": read_destination("DeadLetterConfig.TargetArn", arn, namespace)} if arn else None


def check_spec(spec: Params) -> None:
    """Raises a Refusal that names each field that is wrong, as Lambda writes it."""
    try:
        FunctionSpec.model_validate(spec)
    except ValidationError as error:
        raise _refused(error) from error


def _refused(error: ValidationError) -> Refusal:
    found = []
    inputs = [detail["input"] for detail in error.errors(include_url=False)]
    for problem, given in zip(problems_of(error), inputs, strict=True):
        field = ".".join(upper(part) if isinstance(part, str) else str(part) for part in problem.path)
        value = f" is {given!r}:" if isinstance(given, str | int | float) else ":"
        found.append(f"{field}{value} {problem.message}" if field else problem.message)
    return invalid("; ".join(found))
