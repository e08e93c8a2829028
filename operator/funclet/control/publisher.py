"""Versions and Aliases: gather, decide, apply. The reconciler tells of changes, and gives the turns.

The turn of a Version is that of all Versions of its function, in the order in which they were made: numbers are given
by one hand.
"""

import logging
from collections.abc import Callable, Mapping

from pydantic import ValidationError

from funclet.adapters.resources import DELETED, FINALIZER, Owner, ResourceEvent, Resources, split_key
from funclet.api.alias import Alias, AliasStatus
from funclet.api.function import Function
from funclet.api.function_status import ActiveRevision, FunctionStatus
from funclet.api.version import Version, VersionStatus
from funclet.control.observed import Index, Unreadable
from funclet.core.conditions import READY, find
from funclet.core.publishing import (
    AliasFacts,
    KnownFunction,
    VersionFacts,
    age_of,
    alias_key,
    decide_alias,
    decide_held,
    decide_published,
    decide_version,
    function_of,
    leads_to,
    secrets_of,
)
from funclet.core.qualifiers import LATEST
from funclet.core.validation import describe

logger = logging.getLogger(__name__)

NUMBERS_OWNER = "control-versions"
"""The field manager of a Function's status.lastVersion, apart from that of the rest."""


class Publisher:
    """Brings the status of every Version and Alias in line with what there is."""

    def __init__(
        self,
        resources: Resources,
        functions: Mapping[str, Function | Unreadable[FunctionStatus]],
        enqueue: Callable[[str, str], None],
        on_change: Callable[[str], None],
        now: Callable[[], str],
    ) -> None:
        self._resources = resources
        self._functions = functions
        self._enqueue = enqueue
        self._on_change = on_change
        """Told of functions of which other versions or aliases can be invoked now."""
        self._now = now
        self.versions: dict[str, Version] = {}
        self.aliases: dict[str, Alias] = {}
        self._versions_of: Index[str] = Index()
        self._secrets_of: Index[str] = Index()
        self._aliases_of: Index[str] = Index()
        """By function, and by `namespace/name:alias`."""

    # --- what is told ---

    def observe(self, kind: str, event: ResourceEvent) -> None:
        """A Version or Alias has changed."""
        observe = self._observe_version if kind == "Version" else self._observe_alias
        try:
            observe(event)
        except ValidationError as error:
            extra = {"kind": kind, "key": event.key, "error": describe(error)}
            logger.warning("resource not understood", extra=extra)

    def function_changed(self, function: str) -> None:
        """A Function has changed, or is gone."""
        if self._versions_of.keys(function):
            self._enqueue("Version", function)
            self._enqueue("Holds", function)
        self._enqueue_aliases(function)

    def secret_changed(self, secret: str) -> None:
        """A Secret has changed, or is gone."""
        for key in self._secrets_of.keys(secret):
            self._enqueue("Version", function_of(self.versions[key]))

    def _observe_version(self, event: ResourceEvent) -> None:
        key, before = event.key, self.versions.get(event.key)
        if event.type is DELETED:
            self.versions.pop(key, None)
            self._secrets_of.set(key, [])
            touched = self._versions_of.set(key, [])
        else:
            version = Version.model_validate(event.object)
            if before is not None and _is_older(version, before):
                version = version.model_copy(update={"status": before.status})
            self._keep(key, version)
            touched = self._versions_of.set(key, [function_of(version)])
        for function in touched:
            self.function_changed(function)
            self._on_change(function)

    def _keep(self, key: str, version: Version) -> None:
        self.versions[key] = version
        names = secrets_of(version.status.snapshot) if version.status.snapshot else ()
        self._secrets_of.set(key, [f"{version.metadata.namespace}/{name}" for name in names])

    def _observe_alias(self, event: ResourceEvent) -> None:
        key = event.key
        if event.type is DELETED:
            self.aliases.pop(key, None)
            touched = self._aliases_of.set(key, [])
        else:
            alias = self.aliases[key] = Alias.model_validate(event.object)
            touched = self._aliases_of.set(key, [function_of(alias), alias_key(alias)])
        for place in touched:
            self._enqueue_aliases(place)
            self._enqueue("Holds", place.partition(":")[0])
            self._on_change(place.partition(":")[0])

    def _enqueue_aliases(self, place: str) -> None:
        for key in self._aliases_of.keys(place):
            self._enqueue("Alias", key)

    # --- what is to be done ---

    async def settle_versions(self, function: str) -> None:
        """Publish what is to be published of a function."""
        keys = sorted(self._versions_of.keys(function), key=lambda key: age_of(self.versions[key]))
        for key in keys:
            version = self.versions.get(key)
            if version is not None and not version.metadata.deletion_timestamp:
                await self._settle_version(key, version)

    async def _settle_version(self, key: str, version: Version) -> None:
        known = self._find_function(function_of(version))
        if version.status.snapshot is None:
            status = await self._publish(version, known)
        else:
            secrets = await self._find_secrets(version)
            status = decide_published(version, known, secrets, self._now())
        if status != version.status:
            await self._write("Version", key, status)
            if key in self.versions:
                self._keep(key, version.model_copy(update={"status": status}))
            self._enqueue_aliases(function_of(version))
            self._on_change(function_of(version))
        await self._set_owner("Version", version, known)

    async def _publish(self, version: Version, known: KnownFunction | None) -> VersionStatus:
        namespace, name = version.metadata.namespace, version.spec.function.name
        generation = await self._resources.find_generation("Function", namespace, name)
        others = (self.versions[key] for key in self._versions_of.keys(function_of(version)))
        published = tuple(other for other in others if other.status.snapshot is not None)
        publication = decide_version(version, VersionFacts(known, generation, published), self._now())
        if publication.is_new:  # written first, so that a number is left out rather than given twice
            last = {"lastVersion": publication.status.version}
            await self._resources.patch_status("Function", namespace, name, last, owner=NUMBERS_OWNER)
        return publication.status

    async def settle_alias(self, key: str) -> None:
        """Point an alias where it is to lead."""
        alias = self.aliases.get(key)
        if alias is None or alias.metadata.deletion_timestamp:
            return
        known = self._find_function(function_of(alias))
        rivals = (self.aliases[rival] for rival in self._aliases_of.keys(alias_key(alias)) - {key})
        facts = AliasFacts(known is not None, self.published_of(function_of(alias)), tuple(rivals))
        status = decide_alias(alias, facts, self._now())
        if status != alias.status:
            await self._write("Alias", key, status)
            self._on_change(function_of(alias))
        await self._set_owner("Alias", alias, known)

    async def settle_holds(self, function: str) -> None:
        """Keep the versions of a function that aliases lead to, also deleted ones, and let go of the others."""
        aliases = [self.aliases[key] for key in sorted(self._aliases_of.keys(function))]
        for key in sorted(self._versions_of.keys(function)):
            if (version := self.versions.get(key)) is not None:
                names = [alias.spec.name for alias in aliases if leads_to(alias, version)]
                await self._settle_hold(key, version, names)

    async def _settle_hold(self, key: str, version: Version, aliases: list[str]) -> None:
        metadata, is_held = version.metadata, FINALIZER in version.metadata.finalizers
        is_going = metadata.deletion_timestamp is not None
        if aliases and is_held and is_going:
            status = decide_held(version, aliases, self._now())
            if status != version.status:
                await self._write("Version", key, status)
        elif is_held != bool(aliases) and (is_held or not is_going):
            await self._resources.hold("Version", metadata.namespace, metadata.name, metadata.uid, held=not is_held)

    def published_of(self, function: str) -> dict[int, ActiveRevision]:
        """The versions of a function that can be invoked, by number."""
        known = self._find_function(function)
        statuses = [self.versions[key].status for key in self._versions_of.keys(function)]
        return {
            status.version: status.snapshot
            for status in statuses
            if status.version and status.snapshot and known and known.uid == status.function_uid
        }

    def qualifiers_of(self, function: str) -> frozenset[str]:
        """What a function can be invoked with, beside $LATEST."""
        aliases = (self.aliases[key] for key in self._aliases_of.keys(function))
        names = {alias.spec.name for alias in aliases if alias.status.active is not None}
        return frozenset(map(str, self.published_of(function))) | names

    def timeout_of(self, function: str, qualifier: str | None) -> int | None:
        """The longest timeout, in seconds, of what this leads to; None: to nothing yet."""
        if qualifier is None or qualifier == LATEST:
            known = self._find_function(function)
            actives = [known.status.active] if known else []
        else:
            routes = [self.aliases[key].status.active for key in self._aliases_of.keys(f"{function}:{qualifier}")]
            names = [name for route in routes if route for name in (route.function_version, route.additional_version)]
            statuses = [self.versions[key].status for key in self._versions_of.keys(function)]
            actives = [status.snapshot for status in statuses if str(status.version) in (names or [qualifier])]
        return max((active.spec["timeout"] for active in actives if active), default=None)

    def _find_function(self, function: str) -> KnownFunction | None:
        found = self._functions.get(function)
        return None if found is None else KnownFunction(found.metadata.uid, found.status)

    async def _find_secrets(self, version: Version) -> dict[str, str]:
        assert version.status.snapshot is not None
        found = {
            name: await self._resources.find_secret(version.metadata.namespace, name)
            for name in sorted(secrets_of(version.status.snapshot))
        }
        return {name: secret.resource_version for name, secret in found.items() if secret is not None}

    async def _set_owner(self, kind: str, resource: Version | Alias, known: KnownFunction | None) -> None:
        metadata = resource.metadata
        if known is not None and known.uid not in [owner.uid for owner in metadata.owner_references]:
            owner = Owner("Function", resource.spec.function.name, known.uid)
            await self._resources.set_owner(kind, metadata.namespace, metadata.name, metadata.uid, owner)

    async def _write(self, kind: str, key: str, status: VersionStatus | AliasStatus) -> None:
        namespace, name = split_key(key)
        await self._resources.patch_status(kind, namespace, name, status.to_wire())
        ready = find(status.conditions, READY)
        logger.info("status written", extra={"kind": kind, "key": key, "reason": ready and ready.reason})


def _is_older(version: Version, before: Version) -> bool:
    """Whether a watch lags behind what was written here: what is published stays published."""
    same = version.metadata.uid == before.metadata.uid
    return same and version.status.snapshot is None and before.status.snapshot is not None
