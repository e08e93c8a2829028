"""The number of a Function's instances in its status: for people, a second or two old, written only when it changed."""

import asyncio
import logging
from collections import Counter
from typing import Any

from funclet.adapters.resources import DELETED, SYNCED, ResourceEvent, Resources, object_key, split_key
from funclet.errors import Conflict, Unavailable

logger = logging.getLogger(__name__)

POD_SELECTOR = "app.kubernetes.io/managed-by=funclet-scaler"

PERIOD_SECONDS = 1.0
"""At most one patch a function in this time; nothing is written, and nothing wakes up, while nothing changes."""

OWNER = "control-instances"
"""The field manager of status.instances, apart from that of the rest, so that each can be applied alone."""


class InstanceCounter:
    """Counts the specialised pods of each Function and writes status.instances."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._pods: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._written: dict[str, int] = {}
        self._synced = False
        self._dirty: set[str] = set()
        self._wakeup = asyncio.Event()

    def observe_function(self, event: ResourceEvent) -> None:
        """Learn what a Function's status says now."""
        if event.type is DELETED:
            self._written.pop(event.key, None)
            return
        self._written[event.key] = event.object.get("status", {}).get("instances", 0)
        self._check(event.key)

    def observe_pod(self, event: ResourceEvent) -> None:
        """Learn of one pod."""
        if event.type is SYNCED:
            self._synced = True
            for function in self._written:
                self._check(function)
            return
        before = self._pods.pop(event.key, None)
        now = None if event.type is DELETED else function_of_pod(event.object)
        if before:
            self._counts[before] -= 1
        if now:
            self._counts[now] += 1
            self._pods[event.key] = now
        for function in filter(None, {before, now}):
            self._check(function)

    async def follow(self) -> None:
        """Follow the pods for ever."""
        async for event in self._resources.watch("Pod", label_selector=POD_SELECTOR):
            self.observe_pod(event)

    async def run(self) -> None:
        """Write what changed, for ever."""
        while True:
            await self._wakeup.wait()
            await asyncio.sleep(PERIOD_SECONDS)
            self._wakeup.clear()
            for key in tuple(self._dirty):
                self._dirty.discard(key)
                await self._write(key)

    def _check(self, key: str) -> None:
        if self._synced and self._counts[key] != self._written.get(key, 0):
            self._dirty.add(key)
            self._wakeup.set()

    async def _write(self, key: str) -> None:
        count = self._counts[key]
        if key not in self._written or count == self._written[key]:
            return
        namespace, name = split_key(key)
        try:
            await self._resources.patch_status("Function", namespace, name, {"instances": count}, owner=OWNER)
            self._written[key] = count
        except Conflict:
            self._written.pop(key, None)  # the Function is gone; should it come again, its event says so
        except Unavailable as error:
            logger.warning("instances not written", extra={"key": key, "reason": error.reason, "error": error.message})
            self._check(key)


def function_of_pod(pod: dict[str, Any]) -> str | None:
    """The key of the Function that a pod serves; None for one that is generic, draining or on its way out."""
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    if labels.get("funclet.dev/state") != "specialised" or "deletionTimestamp" in metadata:
        return None
    namespace, _ = split_key(object_key(pod))
    name = labels.get("funclet.dev/function")
    return f"{namespace}/{name}" if name else None
