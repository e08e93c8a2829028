"""The catalog: the Functions and Triggers of a role, parsed, by key, always as good as the last good state."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from funclet.adapters.resources import DELETED, SYNCED, ResourceEvent, Resources
from funclet.api.function import Function
from funclet.api.trigger import Trigger
from funclet.core.revision import Revision, find_revision, stand_in
from funclet.core.validation import describe

logger = logging.getLogger(__name__)

FunctionCallback = Callable[[str, Revision | None], None]
TriggerCallback = Callable[[str, Trigger | None], None]


class Catalog:
    """Follows Functions and Triggers. Callbacks run synchronously, after the catalog itself has changed."""

    def __init__(self, resources: Resources) -> None:
        self.functions: dict[str, Revision] = {}
        self.triggers: dict[str, Trigger] = {}
        self.pending: set[str] = set()
        """Functions that are there but could never be resolved yet."""
        self._resources = resources
        self._on_function: list[FunctionCallback] = []
        self._on_trigger: list[TriggerCallback] = []
        self._synced = {"Function": asyncio.Event(), "Trigger": asyncio.Event()}

    def on_function(self, callback: FunctionCallback) -> None:
        """Call back with the key and the new Revision (None: callers get nothing any more) whenever it changed."""
        self._on_function.append(callback)

    def on_trigger(self, callback: TriggerCallback) -> None:
        """Call back with the key and the new Trigger (None: it is gone) whenever its spec or its status changed."""
        self._on_trigger.append(callback)

    async def synced(self) -> None:
        """Wait until all that existed at the start is in the catalog."""
        for event in self._synced.values():
            await event.wait()

    async def run(self) -> None:
        """Follow both kinds for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow("Function", self._observe_function))
            group.create_task(self._follow("Trigger", self._observe_trigger))

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
        revision = None if event.type is DELETED else read_revision(event.object)
        if revision is None and event.type is not DELETED:
            self.pending.add(event.key)
        else:
            self.pending.discard(event.key)
        if revision == self.functions.get(event.key):
            return
        if revision is None:
            self.functions.pop(event.key, None)
        else:
            self.functions[event.key] = revision
        for callback in self._on_function:
            callback(event.key, revision)

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
