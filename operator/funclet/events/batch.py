"""One batch: its messages are invoked, kept alive while that runs, and settled by the answer."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import assert_never

from funclet.adapters.gateway_client import GatewayUnavailable, Invocation, ThrottledByGateway
from funclet.adapters.metrics import BATCHES, MESSAGES
from funclet.adapters.sources.queue import SourceQueue
from funclet.core.batching import Policy
from funclet.core.settlement import (
    Acknowledge,
    Answer,
    Delivery,
    Failed,
    Fate,
    GiveUp,
    Leave,
    Postponed,
    Retry,
    Succeeded,
    broken_groups,
    describe_error,
    settle,
)
from funclet.core.sqs_event import Message, QueueMessage, next_payload
from funclet.errors import FunctionFailed, Unavailable

log = logging.getLogger(__name__)

Invoke = Callable[[bytes], Awaitable[Invocation]]


class Receipts:
    """What JetStream does not know of a message that comes again: which deliveries count, and the first one's time.

    A queue of SQS knows it all: of its messages nothing is kept.
    """

    def __init__(self) -> None:
        self._uncounted: dict[int, int] = {}
        self._first_received_ms: dict[int, int] = {}

    def recall(self, message: QueueMessage) -> QueueMessage:
        """The message with the receives that count and the time of the first."""
        if not isinstance(message, Message):
            return message
        first = self._first_received_ms.setdefault(message.sequence, message.first_received_ms)
        receives = max(1, message.receives - self._uncounted.get(message.sequence, 0))
        return replace(message, receives=receives, first_received_ms=first)

    def uncount(self, message: QueueMessage) -> None:
        """This delivery did not reach the function."""
        if isinstance(message, Message):
            self._uncounted[message.sequence] = self._uncounted.get(message.sequence, 0) + 1

    def forget(self, message: QueueMessage) -> None:
        """The message does not come again."""
        if isinstance(message, Message):
            self._uncounted.pop(message.sequence, None)
            self._first_received_ms.pop(message.sequence, None)


class Settler:
    """Carries out what was decided for messages, and counts it for the Trigger `namespace/name`."""

    def __init__(self, queue: SourceQueue, trigger: str, receipts: Receipts) -> None:
        self._queue = queue
        self._policy = queue.policy
        self._labels = trigger.split("/", 1)
        self._receipts = receipts

    async def apply(self, messages: Sequence[QueueMessage], fates: Sequence[Fate]) -> None:
        """Raises Unavailable when the source is away; what is not settled then comes again by itself."""
        done: list[QueueMessage] = []
        again: dict[float, list[QueueMessage]] = defaultdict(list)
        for message, fate in zip(messages, fates, strict=True):
            match fate:
                case Acknowledge():
                    done.append(message)
                case Retry(delay_seconds=delay, counts=counts):
                    again[delay].append(message)
                    self._note_retry(message, counts)
                case GiveUp(error=error):
                    await self._give_up(message, error)
                case Leave():
                    self._count("failed")
                case _:
                    assert_never(fate)
        for delay, members in again.items():
            await self._queue.retry([message.receipt for message in members], delay)
        await self.acknowledge(done, "succeeded")

    def note_postponed(self, messages: int) -> None:
        """So many were not run, and are tried again while they are ours."""
        self._count("postponed", messages)

    def _note_retry(self, message: QueueMessage, counts: bool) -> None:
        if not counts:
            self._receipts.uncount(message)
        self._count("failed" if counts else "postponed")

    async def acknowledge(self, messages: Sequence[QueueMessage], outcome: str) -> None:
        """These are done with."""
        await self._queue.acknowledge([message.receipt for message in messages])
        for message in messages:
            self._receipts.forget(message)
        self._count(outcome, len(messages))

    async def _give_up(self, message: QueueMessage, error: str) -> None:
        subject, dead_letters = self._policy.dead_letter_subject, self._queue.dead_letters
        if subject is None or dead_letters is None:
            log.warning("message given up", extra={**self._place(message), "reason": error})
            await self.acknowledge([message], "given_up")
            return
        try:
            await dead_letters.dead_letter(message, subject, error)
        except Unavailable as failure:
            # Losing it is worse than giving it to the function once more.
            log.warning("dead letter not stored", extra={**self._place(message), "detail": failure.message})
            await self._queue.retry([message.receipt], self._policy.redelivery.delay(message.receives))
            return
        await self.acknowledge([message], "dead_lettered")

    def _count(self, outcome: str, messages: int = 1) -> None:
        if messages:
            MESSAGES.labels(*self._labels, outcome).inc(messages)

    def _place(self, message: QueueMessage) -> dict[str, object]:
        return {"trigger": "/".join(self._labels), **message.place, "receives": message.receives}


async def run_batch(messages: Sequence[QueueMessage], queue: SourceQueue, invoke: Invoke, settler: Settler) -> Answer:
    """Invokes with all messages and settles each. The answer is that of the batch's last event."""
    answer: Answer = Succeeded(b"")
    rest = list(messages)
    waiting = {message.receipt for message in messages}
    heartbeat = asyncio.create_task(_keep_alive(queue, waiting))
    try:
        while rest:
            count, payload = next_payload(rest, queue.origin)
            members, rest = rest[:count], rest[count:]
            answer = await _ask_patiently(invoke, payload, queue.policy, partial(settler.note_postponed, count))
            batch = [Delivery(message.message_id, message.receives, message.group) for message in members]
            fates = settle(queue.policy, batch, answer)
            waiting.difference_update(message.receipt for message in members)
            await settler.apply(members, fates)
            broken = broken_groups(batch, fates)
            waiting.difference_update(message.receipt for message in rest if message.group in broken)
            rest = [message for message in rest if message.group not in broken]
    finally:
        heartbeat.cancel()
    return answer


async def _ask_patiently(invoke: Invoke, payload: bytes, policy: Policy, on_postponed: Callable[[], None]) -> Answer:
    """Of a queue that counts receives itself, what was not run is kept and tried again: giving it back would count."""
    attempt = 0
    while True:
        answer = await _ask(invoke, payload)
        if not isinstance(answer, Postponed) or policy.maximum_receives is not None:
            return answer
        on_postponed()
        attempt += 1
        await asyncio.sleep(max(policy.redelivery.delay(attempt), answer.retry_after_seconds or 0.0))


async def _ask(invoke: Invoke, payload: bytes) -> Answer:
    try:
        invocation = await invoke(payload)
    except (ThrottledByGateway, GatewayUnavailable) as error:
        return Postponed(error.reason, error.retry_after_seconds)
    except FunctionFailed as error:
        return Failed(error.reason)
    if invocation.function_error:
        return Failed(describe_error(invocation.function_error, invocation.payload))
    return Succeeded(invocation.payload)


async def _keep_alive(queue: SourceQueue, receipts: set[str]) -> None:
    while True:
        await asyncio.sleep(queue.policy.heartbeat_seconds)
        with contextlib.suppress(Unavailable):  # the next beat is in time too: two may be lost
            await queue.keep(tuple(receipts))


def count_batch(trigger: str, answer: Answer) -> None:
    """One more batch of the Trigger `namespace/name`."""
    outcome = {Succeeded: "succeeded", Failed: "failed", Postponed: "postponed"}[type(answer)]
    BATCHES.labels(*trigger.split("/", 1), outcome).inc()
