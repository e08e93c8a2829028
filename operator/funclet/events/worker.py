"""The events of one busy function: taken as its slots allow, run, kept alive meanwhile, and settled.

A function has a worker only while it has events, and for a moment after.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from funclet.adapters.event_streams import EVENT_SUBJECT, EVENTS, place
from funclet.adapters.sources.jetstream import JetStreamQueue
from funclet.core.asynchronous import backlog, events_to_fetch
from funclet.core.backoff import RECONNECTION
from funclet.core.sqs_event import Message
from funclet.errors import Unavailable
from funclet.events.attempt import Outcome
from funclet.events.cancellation import cancel

log = logging.getLogger(__name__)

ACK_WAIT_SECONDS = 6.0
"""How long after this role's death its events are delivered again."""
HEARTBEAT_SECONDS = 2.0
CONSUMER_IDLE_SECONDS = 300.0
"""The server deletes the consumer of a function that has had no events for so long."""
FETCH_BYTES = 4 * 1024 * 1024
BUSY_LOOK_SECONDS = 0.2
REST_LOOK_SECONDS = 1.0
"""Nothing runs here: all that is left waits for its next attempt, or is another replica's."""
LINGER_SECONDS = 5.0


class Worker:
    """Runs one function's events. `slots` tells how many can run now; `report` takes what waits, None when unknown."""

    def __init__(
        self,
        key: str,
        client: Client,
        run: Callable[[Message], Awaitable[Outcome]],
        slots: Callable[[], int],
        report: Callable[[int | None], None],
        ended: Callable[[], None],
    ) -> None:
        self.key = key
        self._client = client
        self._run_event = run
        self._slots = slots
        self._report = report
        self._ended = ended
        self._changed = asyncio.Event()
        self._at_hand: dict[int, Message] = {}
        """By sequence number, the oldest first."""
        self._running: dict[int, Message] = {}
        """By sequence number, each as it was delivered last: that delivery is the one to settle."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._delayed: dict[int, float] = {}
        """Sequence numbers of events that wait for their next attempt, and when that is."""
        self._more = True
        self._failures = 0
        self._paused_until = 0.0
        self._busy_at = time.monotonic()
        self._halted = False
        self._queue: JetStreamQueue | None = None
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins."""
        self._loop = asyncio.create_task(self._run(), name=f"events of {self.key}")

    def notice(self) -> None:
        """There are more events, or other slots."""
        self._more = True
        self._changed.set()

    def halt(self) -> None:
        """Takes nothing more and reports nothing more, from now on."""
        self._halted = True
        if self._loop is not None:
            self._loop.cancel()

    async def stop(self, timeout_seconds: float) -> None:
        """Halts, gives back what has not begun, and waits for what runs; what is not done then comes again."""
        self.halt()
        await cancel([self._loop] if self._loop else [])
        if self._queue is not None:
            with contextlib.suppress(Unavailable):
                await self._queue.retry([message.receipt for message in self._at_hand.values()], 0)
        self._at_hand.clear()
        if self._tasks:
            beating = asyncio.create_task(self._beat())
            _, late = await asyncio.wait(set(self._tasks), timeout=timeout_seconds)
            await cancel([*late, beating])

    async def _run(self) -> None:
        failures = 0
        while not self._halted:
            try:
                await self._serve()
            except Unavailable as error:
                log.warning("events cannot be read", extra={"function": self.key, "reason": error.reason})
                failures += 1
            except Exception:
                log.exception("events of a function failed", extra={"function": self.key})
                failures += 1
            else:
                self._ended()
                return
            self._report(None)
            await asyncio.sleep(RECONNECTION.delay(failures))

    async def _serve(self) -> None:
        """Until nothing is left to do. Raises Unavailable while JetStream is away."""
        name = f"funclet_{self.key.replace('/', '_')}"  # no two keys have the same: neither part holds a `_`
        config = ConsumerConfig(
            name=name,
            filter_subject=place(EVENT_SUBJECT, self.key),
            ack_wait=ACK_WAIT_SECONDS,
            max_ack_pending=-1,  # what waits for its next attempt counts as pending, and must not block the others
            inactive_threshold=CONSUMER_IDLE_SECONDS,
        )
        self._queue = await JetStreamQueue.open_consumer(self._client, EVENTS, config)
        beating = asyncio.create_task(self._beat(), name=f"heartbeat of {self.key}")
        try:
            await self._work(self._queue)
        finally:
            beating.cancel()
            if not self._halted:
                self._at_hand.clear()  # JetStream was away: they come again

    async def _work(self, queue: JetStreamQueue) -> None:
        looked_at = 0.0
        while not self._halted:
            self._changed.clear()
            self._wake_delayed(time.monotonic())
            if self._more:
                await self._fetch(queue)
            now = time.monotonic()
            if now - looked_at >= self._look_seconds():
                looked_at = now
                await self._look(queue)
            if self._is_idle(time.monotonic()):
                return
            await self._wait(looked_at + self._look_seconds() - time.monotonic())

    async def _fetch(self, queue: JetStreamQueue) -> None:
        wanted = events_to_fetch(len(self._running), len(self._at_hand), self._capacity())
        if not wanted:
            return
        self._more = False  # before the request: what is stored while it runs is told of, and sets it again
        messages = await queue.fetch(wanted, 0, FETCH_BYTES)
        for message in messages:
            self._take(message)
        if messages:
            self._more = True
            self._busy_at = time.monotonic()
            self._changed.set()
        self._begin()

    def _take(self, message: Message) -> None:
        """What runs or is at hand already does not run a second time beside it (its consumer was made anew, say)."""
        self._delayed.pop(message.sequence, None)
        if message.sequence in self._running:
            self._running[message.sequence] = message
        else:
            self._at_hand[message.sequence] = message

    async def _look(self, queue: JetStreamQueue) -> None:
        """Reports what waits. What is there and nobody told of (a redelivery) is fetched next time."""
        depth = await queue.observe_depth()
        waiting = backlog(depth, len(self._running), len(self._delayed))
        self._report(waiting)
        if depth:
            self._busy_at = time.monotonic()
        if waiting > len(self._at_hand):
            self._more = True

    def _capacity(self) -> int:
        """One may run without a slot: it waits at the gateway, which wants an instance for it then."""
        return 0 if time.monotonic() < self._paused_until else max(1, self._slots())

    def _begin(self) -> None:
        capacity = 0 if self._halted else self._capacity()
        while self._at_hand and len(self._running) < capacity:
            message = self._at_hand.pop(next(iter(self._at_hand)))
            task = asyncio.create_task(self._settle(message), name=f"event of {self.key}")
            self._running[message.sequence] = message
            self._tasks.add(task)
            task.add_done_callback(self._end)

    def _end(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._begin()
        if not self._at_hand or not self._running:
            self._changed.set()

    async def _settle(self, message: Message) -> None:
        try:
            outcome = await self._run_event(message)
            self._note(outcome)
            await self._tell(self._running[message.sequence], outcome.delay_seconds)
        except Unavailable as error:
            # It comes again after its acknowledgement wait.
            log.warning("event not settled", extra={"function": self.key, "reason": error.reason})
        except Exception:
            log.exception("event failed", extra={"function": self.key})
        finally:
            del self._running[message.sequence]

    async def _tell(self, message: Message, delay_seconds: float | None) -> None:
        assert self._queue is not None
        if delay_seconds is None:
            await self._queue.settle([message.receipt])
            return
        self._delayed[message.sequence] = time.monotonic() + delay_seconds
        await self._queue.retry([message.receipt], delay_seconds)

    def _note(self, outcome: Outcome) -> None:
        """While the function cannot be run, its other events wait too."""
        now = time.monotonic()
        if not outcome.refused:
            self._failures = 0
        elif now >= self._paused_until:
            self._failures += 1
            self._paused_until = now + RECONNECTION.delay(self._failures)

    async def _beat(self) -> None:
        """Events at hand and running ones are not to be delivered again."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            held = [*self._at_hand.values(), *self._running.values()]
            if held and self._queue is not None:
                with contextlib.suppress(Unavailable):  # the next beat is in time too
                    await self._queue.keep([message.receipt for message in held])

    def _wake_delayed(self, now: float) -> None:
        due = [sequence for sequence, at in self._delayed.items() if at <= now]
        for sequence in due:
            del self._delayed[sequence]
        self._more = self._more or bool(due)

    def _look_seconds(self) -> float:
        return BUSY_LOOK_SECONDS if self._running or self._at_hand else REST_LOOK_SECONDS

    def _is_idle(self, now: float) -> bool:
        held = self._running or self._at_hand or self._delayed or self._more
        return not held and now - self._busy_at >= LINGER_SECONDS

    async def _wait(self, seconds: float) -> None:
        now = time.monotonic()
        times = [seconds, *(at - now for at in self._delayed.values())]
        if self._paused_until > now:
            times.append(self._paused_until - now)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.001, min(times))):
                await self._changed.wait()
        if self._at_hand and not self._running:
            self._begin()
