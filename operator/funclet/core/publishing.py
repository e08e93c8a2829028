"""Publishing versions and pointing aliases: from what a resource wants and what was found for it to its status.

Rules, which are Lambda's:
1. A version is what the function was when it was published: its resolved settings, and the digests of its packages.
2. Numbers go up by one, and never come again, whatever is deleted.
3. If nothing has changed since the last version, publishing gives that version.
4. An alias leads to published versions of its function, or to $LATEST. What it led to last it goes on to lead to
   while its newest spec cannot be followed.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from funclet.api.alias import ActiveRoute, Alias, AliasStatus
from funclet.api.function_status import ActiveRevision, FunctionStatus
from funclet.api.meta import ObjectMeta
from funclet.api.version import Version, VersionStatus
from funclet.core.conditions import READY, Finding, find, holds, settle
from funclet.core.qualifiers import LATEST, AliasRoute, qualify
from funclet.core.revision import revision_digest

Status = TypeVar("Status", VersionStatus, AliasStatus)

OF_THE_FUNCTION = ("reservedConcurrentExecutions", "recursiveLoop", "provisionedConcurrentExecutions")
"""Fields of which the function as it is now decides: a change of them makes no version."""


@dataclass(frozen=True, slots=True)
class KnownFunction:
    """A Function, whether or not its newest spec can be read."""

    uid: str
    status: FunctionStatus


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What was found for a Version that is not published yet.

    `generation` is the newest generation of the Function, read after the Version was there: what was applied before it
    is to be published with it. None: there is no Function.
    """

    function: "KnownFunction | None"
    generation: int | None
    published: tuple[Version, ...] = ()
    """The function's other Versions that are published."""


@dataclass(frozen=True, slots=True)
class Publication:
    """The status of a Version. `is_new`: its number has not been given before."""

    status: VersionStatus
    is_new: bool = False


def function_of(resource: Version | Alias) -> str:
    """The Function that it names: `namespace/name`."""
    return f"{resource.metadata.namespace}/{resource.spec.function.name}"


def age_of(resource: Version | Alias) -> tuple[float, str]:
    """Sorts the oldest first; of two of one age, by name."""
    created = resource.metadata.creation_timestamp
    return (created.timestamp() if created else float("inf"), resource.metadata.name)


def decide_version(version: Version, facts: VersionFacts, now: str) -> Publication:
    """Publish, or say what is in the way. `now` is RFC 3339."""
    finding = _judge_version(version, facts)
    if not finding.holds:
        return Publication(settle_status(version.status, version.metadata, finding, now))
    assert facts.function is not None
    assert facts.function.status.active is not None
    uid, active = facts.function.uid, facts.function.status.active
    of_function = [one.status for one in facts.published if one.status.function_uid == uid]
    last = max(of_function, key=lambda status: status.version or 0, default=None)
    is_new = last is None or last.snapshot is None or content_of(last.snapshot) != content_of(active)
    numbers = [facts.function.status.last_version, *(status.version or 0 for status in of_function)]
    number = max(numbers) + 1 if is_new or last is None else last.version
    unpublished = VersionStatus(conditions=version.status.conditions, version=number, function_uid=uid, snapshot=active)
    message = invoked_as(version, number)
    if not is_new:
        message += " Nothing of the function has changed since that version was published."
    return Publication(settle_status(unpublished, version.metadata, Finding(True, "Published", message), now), is_new)


def settle_status(previous: Status, metadata: ObjectMeta, finding: Finding, now: str) -> Status:
    """The status with this finding; all else stays."""
    conditions = settle(previous.conditions, READY, finding, generation=metadata.generation, now=now)
    return previous.model_copy(update={"observed_generation": metadata.generation, "conditions": conditions})


def _judge_version(version: Version, facts: VersionFacts) -> Finding:
    name, function = version.spec.function.name, facts.function
    if function is None or facts.generation is None:
        return function_not_found(name)
    status = function.status
    if status.active is None or status.observed_generation < facts.generation or not holds(status.conditions):
        return Finding(False, "FunctionNotReady", f"the Function {name} is not Ready: see its condition Ready")
    wanted, code = version.spec.code_sha256, status.active.code_sha256
    if wanted is not None and wanted != code:
        message = f"spec.codeSha256 is {wanted}, and the code of the Function {name} is {code or 'in an image'}"
        return Finding(False, "CodeSha256Mismatch", f"{message}: it is published when the Function has that code")
    return Finding(True, "Published")


def function_not_found(name: str) -> Finding:
    """What a Version or Alias says without its Function."""
    message = f"there is no Function {name}: create it, or make another resource with another spec.function.name"
    return Finding(False, "FunctionNotFound", message)


def content_of(snapshot: ActiveRevision) -> tuple[object, ...]:
    """What makes one version another one than the last."""
    spec = {name: value for name, value in snapshot.spec.items() if name not in OF_THE_FUNCTION}
    return snapshot.code_sha256, snapshot.image_uri, tuple(snapshot.layers), spec


def decide_published(
    version: Version, function: KnownFunction | None, secrets: Mapping[str, str], now: str
) -> VersionStatus:
    """The status of a Version that is published. `secrets` has the resource version of each Secret that it names.

    What was published stays; the values of its Secrets are as they are now, for whatever starts from now on.
    """
    status = version.status
    assert status.snapshot is not None
    if function is None or function.uid != status.function_uid:
        return settle_status(status, version.metadata, function_not_found(version.spec.function.name), now)
    snapshot = status.snapshot
    packages = [*(layer.sha256 for layer in snapshot.layers), snapshot.image_uri or snapshot.code_sha256]
    revision = revision_digest(status.function_uid, snapshot.spec, packages, dict(secrets))
    status = status.model_copy(update={"snapshot": snapshot.model_copy(update={"revision": revision})})
    ready = find(status.conditions, READY)
    published = ready is not None and ready.reason == "Published"
    message = ready.message if ready and published else invoked_as(version, status.version)
    return settle_status(status, version.metadata, Finding(True, "Published", message), now)


def invoked_as(version: Version, number: int | None) -> str:
    """What a published Version says."""
    return f"Callers invoke it as {version.spec.function.name}:{number}."


def decide_held(version: Version, aliases: Collection[str], now: str) -> VersionStatus:
    """The status of a Version that is being deleted, and goes on for the sake of these aliases."""
    names = ", ".join(aliases)
    message = f"It is being deleted, and goes when no alias leads to it any more: point {names} elsewhere."
    return settle_status(version.status, version.metadata, Finding(True, "Published", message), now)


def secrets_of(snapshot: ActiveRevision) -> frozenset[str]:
    """The Secrets that a version names."""
    environment: dict[str, Any] = snapshot.spec.get("environment", {})
    return frozenset(reference["name"] for reference in environment.get("secrets", {}).values())


# --- aliases ---


def alias_key(alias: Alias) -> str:
    """`namespace/name:alias`."""
    return f"{function_of(alias)}:{alias.spec.name}"


def find_route(alias: Alias) -> AliasRoute | None:
    """Where callers of an alias get; None: nowhere yet."""
    active = alias.status.active
    if active is None:
        return None
    function = function_of(alias)
    other = active.additional_version
    return AliasRoute(
        main=qualify(function, active.function_version),
        additional=None if other is None else qualify(function, other),
        weight=active.additional_weight or 0.0,
        provisioned=alias.spec.provisioned_concurrent_executions or 0,
        event_invoke=alias.spec.event_invoke_config,
    )


@dataclass(frozen=True, slots=True)
class AliasFacts:
    """What was found for an Alias: whether its Function is there, the versions that can be invoked, by number, and the
    Aliases that have the same name for the same function.
    """

    has_function: bool
    versions: Mapping[int, ActiveRevision]
    rivals: tuple[Alias, ...] = ()


def decide_alias(alias: Alias, facts: AliasFacts, now: str) -> AliasStatus:
    """The status of an Alias. `now` is RFC 3339."""
    finding, active = _judge_alias(alias, facts), alias.status.active
    if finding.holds:
        weights = alias.spec.routing_config.additional_version_weights
        other, weight = next(iter(weights.items()), (None, None))
        version = alias.spec.function_version
        active = ActiveRoute(function_version=version, additional_version=other, additional_weight=weight)
    elif finding.reason == "AliasConflict":
        active = None
    status = alias.status.model_copy(update={"active": active})
    return settle_status(status, alias.metadata, finding, now)


def _judge_alias(alias: Alias, facts: AliasFacts) -> Finding:
    spec = alias.spec
    if not facts.has_function:
        return function_not_found(spec.function.name)
    if (winner := _find_older(alias, facts.rivals)) is not None:
        message = f"the older Alias {winner.metadata.name} is {spec.function.name}:{spec.name} already: delete one"
        return Finding(False, "AliasConflict", message)
    weights = spec.routing_config.additional_version_weights
    for field, version in (
        ("functionVersion", spec.function_version),
        *(("routingConfig.additionalVersionWeights", version) for version in weights),
    ):
        if version != LATEST and int(version) not in facts.versions:
            return _version_not_found(alias, field, version, facts.versions)
    if weights and len({_dead_letters_of(facts.versions[int(one)]) for one in (spec.function_version, *weights)}) > 1:
        message = "functionVersion and the second version must have the same deadLetterConfig: publish one that has"
        return Finding(False, "DeadLetterConfigMismatch", message)
    return Finding(True, "Resolved", "Callers get what spec says.")


def _dead_letters_of(snapshot: ActiveRevision) -> str:
    return json.dumps(snapshot.spec.get("deadLetterConfig"), sort_keys=True)


def _version_not_found(alias: Alias, field: str, version: str, there: Collection[int]) -> Finding:
    name = alias.spec.function.name
    known = ", ".join(map(str, sorted(there))) or "none"
    message = f"spec.{field} names version {version} of {name}, which is not there (there are: {known}): publish it"
    message += ", or name another one"
    active = alias.status.active
    if active is not None and is_served(active, there):
        message += f" (callers still get version {active.function_version})"
    return Finding(False, "VersionNotFound", message)


def leads_to(alias: Alias, version: Version) -> bool:
    """Whether callers of the alias get this version."""
    active, number = alias.status.active, str(version.status.version)
    return active is not None and number in (active.function_version, active.additional_version)


def is_served(active: ActiveRoute, there: Collection[int]) -> bool:
    """Whether all that an alias leads to is there."""
    versions = (active.function_version, active.additional_version)
    return all(version is None or version == LATEST or int(version) in there for version in versions)


def _find_older(alias: Alias, rivals: Iterable[Alias]) -> Alias | None:
    older = [rival for rival in rivals if age_of(rival) < age_of(alias)]
    return min(older, key=age_of, default=None)
