"""The role control: the reconciler, the counter of instances, and what feeds them on a cluster."""

import asyncio
from collections.abc import Awaitable, Callable

from funclet.adapters.code_fetch import Packages
from funclet.adapters.resources import ResourceEvent, Resources
from funclet.adapters.sqs_access import QueueLookup
from funclet.adapters.streams import StreamLookup
from funclet.control.instances import InstanceCounter
from funclet.control.reconciler import OWN_KINDS, Reconciler

LIST_AGAIN_SECONDS = 300.0
"""kopf tells nothing of what was deleted while its watch was broken; a listing now and then does."""

Watcher = Callable[[Callable[[str, ResourceEvent], None], str | None], Awaitable[None]]
"""Tells of our own resources until it is told to stop: `run_kopf`."""


class Control:
    """Control on a cluster. `watch` tells of our own resources; Secrets, ConfigMaps and pods it follows itself."""

    def __init__(
        self,
        resources: Resources,
        packages: Packages,
        streams: StreamLookup,
        queues: QueueLookup,
        watch: Watcher,
        namespace: str | None = None,
    ) -> None:
        self.reconciler = Reconciler(resources, packages, streams, queues)
        self._counter = InstanceCounter(resources)
        self._watch = watch
        self._namespace = namespace

    @property
    def ready(self) -> bool:
        """Whether all resources are known."""
        return self.reconciler.synced

    async def run(self) -> None:
        """Work until the watcher ends (a signal), or until a part of this fails, which is raised."""
        parts = [
            self._watch(self._observe, self._namespace),
            self.reconciler.run(),
            self.reconciler.follow("Secret"),
            self.reconciler.follow("ConfigMap"),
            self._counter.follow(),
            self._counter.run(),
            self._list_again(),
        ]
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _observe(self, kind: str, event: ResourceEvent) -> None:
        if kind == "Function":
            self._counter.observe_function(event)
        self.reconciler.observe(kind, event)

    async def _list_again(self) -> None:
        """Each Function is looked at again besides, which puts back packages that the store has lost."""
        while True:
            for kind in OWN_KINDS:
                await self.reconciler.list_again(kind)
            await asyncio.sleep(LIST_AGAIN_SECONDS)
            self.reconciler.enqueue_functions()
