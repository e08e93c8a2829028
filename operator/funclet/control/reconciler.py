"""The reconciler: gather, decide, apply, for one Function or Trigger at a time. It knows neither kopf nor files."""

import asyncio
import logging
from collections.abc import Callable, Collection, Hashable
from dataclasses import replace
from datetime import UTC, datetime

from funclet.adapters.code_fetch import Packages
from funclet.adapters.resources import DELETED, SYNCED, ResourceEvent, Resources, split_key
from funclet.adapters.sqs_access import QueueLookup
from funclet.adapters.streams import StreamLookup
from funclet.api.function import Function
from funclet.api.function_status import FunctionStatus
from funclet.api.meta import ObjectMeta
from funclet.api.trigger import Trigger, TriggerStatus
from funclet.control.gatherer import Gatherer
from funclet.control.observed import (
    Index,
    Key,
    Unreadable,
    essence,
    is_older,
    parse_function,
    parse_trigger,
    references_of,
    same_status,
    targets_of,
    wish,
)
from funclet.control.publisher import Publisher
from funclet.control.workqueue import WorkQueue
from funclet.core.arn import account_id
from funclet.core.conditions import READY, Finding, find
from funclet.core.resolve import (
    RETRIED_REASONS,
    TriggerFacts,
    decide_function,
    decide_invalid_function,
    decide_trigger,
    settle_trigger,
)
from funclet.core.routes import route_of
from funclet.errors import Conflict, FuncletError

logger = logging.getLogger(__name__)

WORKERS = 8
"""How many resources are worked on at a time: a download that hangs holds up none of the others."""

OWN_KINDS = ("Function", "Version", "Alias", "Trigger")
FOLLOWED_KINDS = (*OWN_KINDS, "Secret", "ConfigMap")


def utc_now() -> str:
    """Now, as Kubernetes writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Reconciler:
    """Brings the status of every Function and Trigger in line with what there is; Versions and Aliases it leaves to
    the publisher.

    It is told of resources by `observe` (or follows them itself: `follow`) and works on them in `run`.
    """

    def __init__(
        self,
        resources: Resources,
        packages: Packages,
        streams: StreamLookup,
        queues: QueueLookup,
        *,
        directories: bool = False,
        find_runtime_problem: Callable[[str], str] = lambda runtime: "",
        now: Callable[[], str] = utc_now,
    ) -> None:
        self._resources = resources
        self._gatherer = Gatherer(resources, packages, streams, queues, directories, find_runtime_problem)
        self._now = now
        self._queue = WorkQueue()
        self._functions: dict[str, Function | Unreadable[FunctionStatus]] = {}
        self._triggers: dict[str, Trigger | Unreadable[TriggerStatus]] = {}
        self._references: Index[Key] = Index()
        self._targets: Index[Hashable] = Index()
        self._doubted: set[str] = set()
        self._publisher = Publisher(resources, self._functions, self.enqueue, self._enqueue_triggers, now)
        self._synced = {kind: asyncio.Event() for kind in OWN_KINDS}

    @property
    def synced(self) -> bool:
        """Whether all that Funclet has resources for is known."""
        return all(event.is_set() for event in self._synced.values())

    def accounts(self) -> dict[str, str]:
        """The account numbers in ARNs, of the namespaces that have Functions."""
        return {account_id(namespace): namespace for namespace in {split_key(key)[0] for key in self._functions}}

    def enqueue(self, kind: str, key: str) -> None:
        """Work on a resource soon, whether or not it changed. For Versions and Holds the key is their function's."""
        self._queue.add((kind, key))

    def enqueue_functions(self) -> None:
        """Work on every Function soon."""
        for key in self._functions:
            self.enqueue("Function", key)

    def observe(self, kind: str, event: ResourceEvent) -> None:
        """Take in what a watch said; whatever that concerns is worked on."""
        match kind:
            case "Function":
                self._observe_function(event)
            case "Trigger":
                self._observe_trigger(event)
            case "Version" | "Alias":
                self._publisher.observe(kind, event)
            case _:
                if kind == "Secret":
                    self._publisher.secret_changed(event.key)
                for key in self._references.keys((kind, event.key)):
                    self.enqueue("Function", key)
                self._enqueue_triggers((kind, event.key))

    async def follow(self, kind: str) -> None:
        """Observe a kind for ever through `resources`."""
        async for event in self._resources.watch(kind):
            if event.type is not SYNCED:
                self.observe(kind, event)
            elif kind in self._synced:
                self._synced[kind].set()

    async def list_again(self, kind: str) -> None:
        """Observe all of a kind of our own that there are, and that the others are gone."""
        known: dict[str, Collection[str]] = {
            "Function": self._functions,
            "Version": self._publisher.versions,
            "Alias": self._publisher.aliases,
            "Trigger": self._triggers,
        }
        missing = set(known[kind])
        async for event in self._resources.watch(kind):
            if event.type is SYNCED:
                break
            missing.discard(event.key)
            self.observe(kind, event)
        for key in missing:
            namespace, name = split_key(key)
            self.observe(kind, ResourceEvent(DELETED, {"metadata": {"namespace": namespace, "name": name}}))
        self._synced[kind].set()

    async def run(self) -> None:
        """Work for ever. It begins when all resources are known: until then nothing can be missing."""
        for event in self._synced.values():
            await event.wait()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(self._work())
        finally:
            self._queue.close()

    async def follow_all(self) -> None:
        """Local mode's whole control: follow all kinds and work, for ever."""
        async with asyncio.TaskGroup() as group:
            for kind in FOLLOWED_KINDS:
                group.create_task(self.follow(kind))
            group.create_task(self.run())

    def _observe_function(self, event: ResourceEvent) -> None:
        key, before = event.key, self._functions.get(event.key)
        if event.type is DELETED:
            self._functions.pop(key, None)
            self._references.set(key, [])
            self._function_changed(key)
            return
        function = parse_function(event.object)
        if isinstance(function, Function) and isinstance(before, Function) and is_older(function, before):
            self._doubted.add(key)
            function = function.model_copy(update={"status": before.status})
        self._functions[key] = function
        self._references.set(key, references_of(function))
        if key in self._doubted or before is None or essence(function) != essence(before):
            self.enqueue("Function", key)
            self._function_changed(key)

    def _function_changed(self, key: str) -> None:
        self._enqueue_triggers(key)
        self._publisher.function_changed(key)

    def _observe_trigger(self, event: ResourceEvent) -> None:
        key, before = event.key, self._triggers.get(event.key)
        trigger = None if event.type is DELETED else parse_trigger(event.object)
        if trigger is None:
            self._triggers.pop(key, None)
        else:
            self._triggers[key] = trigger
            self.enqueue("Trigger", key)
        touched = self._targets.set(key, targets_of(trigger))
        if before is None or trigger is None or wish(before) != wish(trigger):
            for route in touched:
                self._enqueue_triggers(route, but=key)

    def _enqueue_triggers(self, target: Hashable, but: str = "") -> None:
        for key in self._targets.keys(target) - {but}:
            self.enqueue("Trigger", key)

    async def _work(self) -> None:
        while True:
            kind, key = item = await self._queue.get()
            again = True
            try:
                again = await self._settle(kind, key)
            except Conflict as error:
                again = error.reason != "NotFound"
            except FuncletError as error:
                extra = {"kind": kind, "key": key, "reason": error.reason, "error": error.message}
                logger.warning("reconciling failed, will be tried again", extra=extra)
            except Exception:
                logger.exception("reconciling failed, will be tried again", extra={"kind": kind, "key": key})
            finally:
                self._queue.done(item, again=again)

    async def _settle(self, kind: str, key: str) -> bool:
        """Returns whether to try again later, since something was missing."""
        match kind:
            case "Function":
                return await self._settle_function(key)
            case "Trigger":
                return await self._settle_trigger(key)
            case "Version":
                await self._publisher.settle_versions(key)
            case "Alias":
                await self._publisher.settle_alias(key)
            case "Holds":
                await self._publisher.settle_holds(key)
        return False

    async def _settle_function(self, key: str) -> bool:
        """Returns whether to try again later, since something was missing."""
        function = self._functions.get(key)
        if function is None or function.metadata.deletion_timestamp:
            return False
        if isinstance(function, Unreadable):
            status = decide_invalid_function(
                function.status, function.metadata.generation, function.message, self._now()
            )
        else:
            status = decide_function(function, await self._gatherer.function_facts(function), self._now())
        if key in self._doubted or not same_status(status, function.status):
            await self._apply("Function", function.metadata, status)
            self._note_written(key, function, status)
        ready = find(status.conditions, READY)
        return ready is not None and ready.reason in RETRIED_REASONS

    def _note_written(self, key: str, function: Function | Unreadable[FunctionStatus], status: FunctionStatus) -> None:
        """Go on from the status as written, without waiting for its echo in the watch."""
        self._doubted.discard(key)
        current = self._functions.get(key)
        if isinstance(current, Function) and current.metadata.uid == function.metadata.uid:
            self._functions[key] = current.model_copy(update={"status": status})
        self._function_changed(key)

    async def _settle_trigger(self, key: str) -> bool:
        trigger = self._triggers.get(key)
        if trigger is None or trigger.metadata.deletion_timestamp:
            return False
        if isinstance(trigger, Unreadable):
            finding = Finding(False, "InvalidSpec", trigger.message)
            status = settle_trigger(trigger.status, trigger.metadata.generation, finding, self._now())
        else:
            stream, queue = await self._gatherer.find_stream(trigger), await self._gatherer.find_queue(trigger)
            facts = replace(self._trigger_facts(key, trigger), stream=stream, queue=queue)
            status = decide_trigger(trigger, facts, self._now())
        if status != trigger.status:
            await self._apply("Trigger", trigger.metadata, status)
        ready = find(status.conditions, READY)
        return ready is not None and ready.reason in RETRIED_REASONS

    def _trigger_facts(self, key: str, trigger: Trigger) -> TriggerFacts:
        target = f"{trigger.metadata.namespace}/{trigger.spec.function.name}"
        function = self._functions.get(target)
        route = route_of(trigger)
        keys = self._targets.keys(route) - {key} if route else frozenset()
        rivals = (self._triggers.get(rival) for rival in sorted(keys))
        others = tuple(rival for rival in rivals if isinstance(rival, Trigger))
        return TriggerFacts(
            function.status if function else None,
            others,
            qualifiers=self._publisher.qualifiers_of(target),
            timeout_seconds=self._publisher.timeout_of(target, trigger.spec.function.qualifier),
        )

    async def _apply(self, kind: str, metadata: ObjectMeta, status: FunctionStatus | TriggerStatus) -> None:
        wire = status.to_wire()
        for name in ("instances", "lastVersion"):
            wire.pop(name, None)  # the instance counter's own, and the publisher's
        await self._resources.patch_status(kind, metadata.namespace, metadata.name, wire)
        ready = find(status.conditions, READY)
        extra = {"kind": kind, "key": f"{metadata.namespace}/{metadata.name}", "reason": ready and ready.reason}
        logger.info("status written", extra=extra)
