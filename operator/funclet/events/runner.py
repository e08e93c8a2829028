"""The runner of one Trigger with a queue: observe the depth, report it, take batches that have a slot, wait."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from funclet.adapters.gateway_client import GatewayClient, Invocation
from funclet.adapters.sources.jetstream import STREAM_NOT_FOUND
from funclet.adapters.sources.queue import SourceQueue
from funclet.adapters.sources.stream import StreamPlace
from funclet.core.backoff import RECONNECTION
from funclet.core.batching import Load, Policy, backlog_batches, batches_to_take, poll_seconds
from funclet.core.event_filter import EventFilter
from funclet.core.sqs_event import QueueMessage, to_record
from funclet.core.sqs_queue import QUEUE_NOT_FOUND, SqsPlace
from funclet.errors import Unavailable
from funclet.events.batch import Receipts, Settler, count_batch, run_batch
from funclet.events.cancellation import cancel
from funclet.events.tracing import EventTracer, batch_error, batch_headers

log = logging.getLogger(__name__)

ALL = EventFilter()
NOT_THERE = (STREAM_NOT_FOUND, QUEUE_NOT_FOUND)
"""What does not exist holds nothing; what cannot be read, nobody knows how much."""
SHARE_GAIN = 0.2
"""Of the latest batch, in the share of messages that pass a filter."""


@dataclass(frozen=True, slots=True)
class RunnerSpec:
    """All that makes a runner what it is: when this changes, another one takes its place."""

    trigger: str
    """Key of the Trigger: `namespace/name`."""
    function: str
    """Whose slots are counted on: for an alias, those of the version that gets most."""
    timeout_seconds: int
    place: StreamPlace | SqsPlace
    policy: Policy
    filter: EventFilter = ALL
    invoked: str = ""
    """The function with the Trigger's qualifier, if it has one."""


class Runner:
    """Runs one Trigger.

    `open_queue` opens its source, `slots` tells how many invocations of its function can run now, `report` takes its
    backlog.
    """

    def __init__(
        self,
        spec: RunnerSpec,
        open_queue: Callable[[], Awaitable[SourceQueue]],
        gateway: GatewayClient,
        slots: Callable[[], int],
        report: Callable[[int | None], None],
        tracer: EventTracer | None = None,
    ) -> None:
        self._tracer = tracer or EventTracer(None)
        self.spec = spec
        self._open_queue = open_queue
        self._gateway = gateway
        self._slots = slots
        self._report = report
        self._receipts = Receipts()
        self._changed = asyncio.Event()
        self._woken_at = time.monotonic()
        self._invoking_messages = 0
        self._wanted_share = 0.0 if spec.filter else 1.0
        """Of the messages taken lately, those that pass the filter."""
        self._gathering: set[asyncio.Task[None]] = set()
        self._invoking: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        self._failures = 0
        self._halted = False

    def start(self) -> None:
        """Begins."""
        self._loop = asyncio.create_task(self._run(), name=f"trigger {self.spec.trigger}")

    def notice(self) -> None:
        """The slots have changed: look again."""
        self._changed.set()

    def halt(self) -> None:
        """Takes nothing more and reports nothing more, from now on."""
        self._halted = True
        if self._loop is not None:
            self._loop.cancel()

    async def stop(self, timeout_seconds: float) -> None:
        """Halts, waits for running batches, and leaves what is not done then for a later delivery."""
        self.halt()
        await cancel([self._loop] if self._loop else [])
        await cancel(self._gathering)
        if self._invoking:
            _, late = await asyncio.wait(set(self._invoking), timeout=timeout_seconds)
            await cancel(late)

    async def _run(self) -> None:
        while not self._halted:
            backlog = None
            try:
                await self._serve()
            except Unavailable as error:
                self._note_failure(error)
                backlog = 0 if error.reason in NOT_THERE else None
            except Exception:
                log.exception("trigger failed", extra={"trigger": self.spec.trigger})
                self._failures += 1
            if not self._halted:
                self._report(backlog)
            await asyncio.sleep(RECONNECTION.delay(self._failures))

    def _note_failure(self, error: Unavailable) -> None:
        """Once a transition, not once an attempt."""
        if self._failures == 0:
            log.warning(
                "event source cannot be read",
                extra={"trigger": self.spec.trigger, "reason": error.reason, "detail": error.message},
            )
        self._failures += 1

    def _note_success(self) -> None:
        if self._failures:
            log.info("event source can be read again", extra={"trigger": self.spec.trigger})
        self._failures = 0

    async def _serve(self) -> None:
        """Until the source is away."""
        queue = await self._open_queue()
        try:
            while not self._halted:
                self._changed.clear()
                depth = await self._observe(queue)
                self._note_success()
                self._act(queue, depth)
                if await self._attend(queue, depth):
                    await self._wait(poll_seconds(depth, time.monotonic() - self._woken_at))
        finally:
            await queue.close()

    async def _observe(self, queue: SourceQueue) -> int:
        waiting = await queue.observe_depth()
        return waiting if queue.counts_taken else waiting + self._invoking_messages

    def _act(self, queue: SourceQueue, depth: int) -> None:
        if self._halted:
            return
        load = Load(depth, self._invoking_messages, len(self._gathering), len(self._invoking))
        self._report(math.ceil(backlog_batches(queue.policy, load) * self._wanted_share))
        # Filtering needs no instance; what passes without one waits at the gateway, which wants one then.
        slots = max(1, self._slots()) if self.spec.filter or queue.takes_first else self._slots()
        for _ in range(batches_to_take(queue.policy, load, slots)):
            task = asyncio.create_task(self._take(queue), name=f"batch {self.spec.trigger}")
            self._gathering.add(task)
            task.add_done_callback(self._gathering.discard)
            task.add_done_callback(self._invoking.discard)

    async def _attend(self, queue: SourceQueue, depth: int) -> bool:
        """Listens while there is nothing to do. False: just began to, and what came before that must be looked for."""
        if depth == 0 and not queue.armed:
            await queue.arm(self._wake)
            return False
        if depth > 0 and queue.armed:
            await queue.disarm()
        return True

    def _wake(self) -> None:
        self._woken_at = time.monotonic()
        self._changed.set()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _take(self, queue: SourceQueue) -> None:
        """One batch from its gathering to its end."""
        try:
            await self._take_one(queue)
        except Unavailable as error:
            # The messages come again after their acknowledgement wait, or visibility timeout.
            log.warning("batch not settled", extra={"trigger": self.spec.trigger, "reason": error.reason})
        except Exception:
            log.exception("batch failed", extra={"trigger": self.spec.trigger})

    async def _take_one(self, queue: SourceQueue) -> None:
        spec = self.spec
        taken = await queue.fetch(queue.policy.batch_size, queue.policy.window_seconds)
        if self._halted:
            await queue.retry([message.receipt for message in taken], 0)
            return
        if not taken:
            return  # and no word to the loop: messages that wait for their redelivery are looked for at its own pace
        self._begin_invoking(len(taken))
        try:
            settler = Settler(queue, spec.trigger, self._receipts)
            messages = await self._filter(taken, queue, settler)
            if not messages:
                return
            operation = self._tracer.batch(spec.place.name, messages, spec.place.system)
            invoke = partial(self._invoke, batch_headers(operation))
            answer = await run_batch(messages, queue, invoke, settler)
            operation.end(batch_error(answer))
            count_batch(spec.trigger, answer)
        finally:
            self._invoking_messages -= len(taken)
            asyncio.get_running_loop().call_soon(self._changed.set)  # once this task is off the books

    async def _filter(self, taken: Sequence[QueueMessage], queue: SourceQueue, settler: Settler) -> list[QueueMessage]:
        """Those that are for the function; the others are done with."""
        spec = self.spec
        wanted: list[QueueMessage] = []
        others: list[QueueMessage] = []
        for message in taken:
            passes = not spec.filter or spec.filter.allows(to_record(message, queue.origin))
            (wanted if passes else others).append(self._receipts.recall(message))
        if spec.filter:
            self._wanted_share += (len(wanted) / len(taken) - self._wanted_share) * SHARE_GAIN
            await settler.acknowledge(others, "filtered")
        return wanted

    def _begin_invoking(self, messages: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._gathering.discard(task)
        self._invoking.add(task)
        self._invoking_messages += messages

    async def _invoke(self, headers: Mapping[str, str], payload: bytes) -> Invocation:
        return await self._gateway.invoke(
            self.spec.invoked or self.spec.function, payload, self.spec.timeout_seconds, headers
        )
