"""The catalog: Functions, Versions, Aliases and Triggers, parsed, by key, always as good as the last good state."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from funclet.adapters.resources import DELETED, SYNCED, ResourceEvent, Resources
from funclet.api.alias import Alias
from funclet.api.function import Function
from funclet.api.trigger import Trigger
from funclet.api.version import Version
from funclet.core.published import Published
from funclet.core.publishing import alias_key, find_route
from funclet.core.qualifiers import AliasRoute, function_key
from funclet.core.revision import Revision, find_revision, stand_in
from funclet.core.validation import describe

logger = logging.getLogger(__name__)

FunctionCallback = Callable[[str, Revision | None], None]
TriggerCallback = Callable[[str, Trigger | None], None]


class Catalog:
    """Follows all four kinds. Callbacks run synchronously, after the catalog itself has changed."""

    def __init__(self, resources: Resources) -> None:
        self.functions: dict[str, Revision] = {}
        """By key, each published version for itself."""
        self.aliases: dict[str, AliasRoute] = {}
        """By `namespace/name:alias`."""
        self.triggers: dict[str, Trigger] = {}
        self.pending: set[str] = set()
        """Functions that are there but could never be resolved yet."""
        self._resources = resources
        self._published = Published()
        self._alias_keys: dict[str, str] = {}
        """Under which key an Alias resource leads somewhere, by its own."""
        self._on_function: list[FunctionCallback] = []
        self._on_alias: list[Callable[[str], None]] = []
        self._on_trigger: list[TriggerCallback] = []
        self._observers: dict[str, Callable[[ResourceEvent], None]] = {
            "Function": self._observe_function,
            "Version": self._observe_version,
            "Alias": self._observe_alias,
            "Trigger": self._observe_trigger,
        }
        self._synced = {kind: asyncio.Event() for kind in self._observers}

    def on_function(self, callback: FunctionCallback) -> None:
        """Call back with the key and the new Revision (None: callers get nothing any more) whenever it changed.

        A published version is told of as a function with a key of its own.
        """
        self._on_function.append(callback)

    def on_alias(self, callback: Callable[[str], None]) -> None:
        """Call back with `namespace/name:alias` whenever an alias leads elsewhere."""
        self._on_alias.append(callback)

    def on_trigger(self, callback: TriggerCallback) -> None:
        """Call back with the key and the new Trigger (None: it is gone) whenever its spec or its status changed."""
        self._on_trigger.append(callback)

    async def synced(self) -> None:
        """Wait until all that existed at the start is in the catalog."""
        for event in self._synced.values():
            await event.wait()

    async def run(self) -> None:
        """Follow all kinds for ever."""
        async with asyncio.TaskGroup() as group:
            for kind, observe in self._observers.items():
                group.create_task(self._follow(kind, observe))

    async def _follow(self, kind: str, observe: Callable[[ResourceEvent], None]) -> None:
        async for event in self._resources.watch(kind):
            if event.type is SYNCED:
                self._synced[kind].set()
                continue
            try:
                observe(event)
            except ValidationError as error:
                logger.warning(
                    "resource not understood", extra={"kind": kind, "key": event.key, "error": describe(error)}
                )

    def _observe_function(self, event: ResourceEvent) -> None:
        key = event.key
        revision = None if event.type is DELETED else read_revision(event.object)
        if revision is None and event.type is not DELETED:
            self.pending.add(key)
        else:
            self.pending.discard(key)
        self._put(key, revision)
        for version in self._published.keys(key):
            self._put_version(version)

    def _put(self, key: str, revision: Revision | None) -> None:
        if revision == self.functions.get(key):
            return
        if revision is None:
            self.functions.pop(key, None)
        else:
            self.functions[key] = revision
        for callback in self._on_function:
            callback(key, revision)

    def _observe_version(self, event: ResourceEvent) -> None:
        version = None if event.type is DELETED else Version.model_validate(event.object)
        for key in self._published.put(event.key, version):
            self._put_version(key)

    def _put_version(self, key: str) -> None:
        self._put(key, self._published.find(key, self.functions.get(function_key(key))))

    def _observe_alias(self, event: ResourceEvent) -> None:
        alias = None if event.type is DELETED else Alias.model_validate(event.object)
        route = None if alias is None else find_route(alias)
        before = self._alias_keys.pop(event.key, None)
        now = None if alias is None or route is None else alias_key(alias)
        changed = before != now or (now is not None and self.aliases[now] != route)
        if before is not None and before != now:
            self._lead(before, None)
        if now is not None and route is not None:
            self._alias_keys[event.key] = now
            self._lead(now, route)
        if changed:
            self._tell_of_aliases(before, now)

    def _lead(self, alias: str, route: AliasRoute | None) -> None:
        before = self.aliases.pop(alias, None)
        if route is not None:
            self.aliases[alias] = route
        for version in self._published.follow(alias, before, route):
            self._put_version(version)

    def _tell_of_aliases(self, *keys: str | None) -> None:
        for key in filter(None, dict.fromkeys(keys)):
            for callback in self._on_alias:
                callback(key)

    def _observe_trigger(self, event: ResourceEvent) -> None:
        trigger = None if event.type is DELETED else Trigger.model_validate(event.object)
        before = self.triggers.get(event.key)
        if _same_trigger(before, trigger):
            return
        if trigger is None:
            self.triggers.pop(event.key, None)
        else:
            self.triggers[event.key] = trigger
        for callback in self._on_trigger:
            callback(event.key, trigger)


def read_revision(resource: dict[str, Any]) -> Revision | None:
    """What callers of this Function get; only `status.active` is read, so a spec that is nonsense does no harm."""
    active = resource.get("status", {}).get("active")
    if not active:
        return None
    spec = {**active["spec"], "code": stand_in(active.get("imageUri"))}
    return find_revision(Function.model_validate({**resource, "spec": spec}))


def _same_trigger(before: Trigger | None, now: Trigger | None) -> bool:
    if before is None or now is None:
        return before is now
    return (before.metadata.uid, before.spec, before.status) == (now.metadata.uid, now.spec, now.status)
