"""A stream consumed as Lambda consumes a queue: when to take a batch, and what becomes of its messages.

The rules, after https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html:

    the invocation …                     the message …
    succeeded                            is acknowledged
    succeeded, and named the message     failed           (with ReportBatchItemFailures alone)
    succeeded, with a malformed answer   failed, as all of the batch
    failed                               failed, as all of the batch
    was postponed (429, 503, no answer)  comes again; this delivery does not count

    a failed message, received …
    fewer than maximumReceives times     comes again, later each time
    maximumReceives times                goes to the dead-letter subject, or is given up
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never

from funclet.api.trigger import JetStreamSource
from funclet.core.backoff import REDELIVERY, Backoff

ACK_MARGIN_SECONDS = 30.0
"""Beside the function's timeout and the batching window: for a cold start and for the way there and back."""

MOST_ACK_PENDING = 65536
LEAST_ACK_PENDING = 1000
"""Messages that wait for their redelivery count as pending; too small a limit would let them block the others."""

ERROR_LENGTH = 512

DEFAULT_CONCURRENCY = 100
"""For the limit of pending messages of a Trigger without maximumConcurrency."""

BUSY_POLL_SECONDS = 0.2
WOKEN_POLL_SECONDS = 0.05
WOKEN_FOR_SECONDS = 1.0
REST_POLL_SECONDS = 5.0
"""At rest a publisher's message wakes the source; the poll is for streams whose messages come another way."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a Trigger and its function's timeout say about batches. Seconds throughout."""

    batch_size: int
    window_seconds: float
    maximum_receives: int
    ack_wait_seconds: float
    maximum_concurrency: int | None = None
    dead_letter_subject: str | None = None
    report_failures: bool = False
    redelivery: Backoff = REDELIVERY

    @property
    def heartbeat_seconds(self) -> float:
        """How often a running batch says that it is alive: two may be lost before the messages are delivered again."""
        return self.ack_wait_seconds / 3

    @property
    def max_ack_pending(self) -> int:
        """Messages that may be delivered and not acknowledged."""
        wanted = self.batch_size * (self.maximum_concurrency or DEFAULT_CONCURRENCY)
        return max(LEAST_ACK_PENDING, min(MOST_ACK_PENDING, wanted))


def policy_of(source: JetStreamSource, timeout_seconds: float) -> Policy:
    """The policy of a Trigger for a function with this timeout."""
    window = float(source.maximum_batching_window_in_seconds)
    return Policy(
        batch_size=source.batch_size,
        window_seconds=window,
        maximum_receives=source.maximum_receives,
        ack_wait_seconds=timeout_seconds + window + ACK_MARGIN_SECONDS,
        maximum_concurrency=source.maximum_concurrency,
        dead_letter_subject=source.dead_letter_subject,
        report_failures="ReportBatchItemFailures" in source.function_response_types,
    )


@dataclass(frozen=True, slots=True)
class Load:
    """How a source stands. Messages, but for the batches."""

    depth: int
    """In the stream and not acknowledged, whoever has them."""
    invoking: int = 0
    """Of these, in a running invocation of ours."""
    gathering_batches: int = 0
    invoking_batches: int = 0


def backlog_batches(policy: Policy, load: Load) -> int:
    """Invocations that wait: what runs is counted by the gateway, and no more than may run at a time is asked for."""
    waiting = _batches(policy, load.depth - load.invoking)
    if policy.maximum_concurrency is None:
        return waiting
    return min(waiting, max(0, policy.maximum_concurrency - load.invoking_batches))


def batches_to_take(policy: Policy, load: Load, slots: int) -> int:
    """How many more batches to begin now: only what has a slot to run in, and no more than there are messages for."""
    running = load.gathering_batches + load.invoking_batches
    may_run = slots if policy.maximum_concurrency is None else min(slots, policy.maximum_concurrency)
    untaken = load.depth - load.invoking - load.gathering_batches * policy.batch_size
    return max(0, min(may_run - running, _batches(policy, untaken)))


def poll_seconds(depth: int, since_wake_seconds: float) -> float:
    """When to look at the stream again.

    A publisher's message is seen before the stream has stored it, so a source that was woken looks closely for a while.
    """
    if depth > 0:
        return BUSY_POLL_SECONDS
    return WOKEN_POLL_SECONDS if since_wake_seconds < WOKEN_FOR_SECONDS else REST_POLL_SECONDS


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The function returned this."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The function failed, or refused its event."""

    error: str


def describe_error(function_error: str, payload: bytes) -> str:
    """One line on what failed, from Lambda's error object ({"errorMessage", "errorType", …}); fit for a header."""
    try:
        error = json.loads(payload)
    except ValueError:
        return function_error
    if not isinstance(error, dict):
        return function_error
    parts = [function_error, error.get("errorType"), error.get("errorMessage")]
    return " ".join(": ".join(str(part) for part in parts if part).split())[:ERROR_LENGTH]


@dataclass(frozen=True, slots=True)
class Postponed:
    """The function was not run, or nobody knows; not the message's fault."""

    reason: str
    retry_after_seconds: float | None = None


Answer = Succeeded | Failed | Postponed


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The message is done."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Deliver the message again after this time."""

    delay_seconds: float
    counts: bool = True
    """Whether this delivery counts towards maximumReceives."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Move the message to the dead-letter subject, or drop it where there is none."""

    error: str


Fate = Acknowledge | Retry | GiveUp


@dataclass(frozen=True, slots=True)
class Delivery:
    """What settling needs to know of a message."""

    message_id: str
    receives: int


def settle(policy: Policy, batch: Sequence[Delivery], answer: Answer) -> list[Fate]:
    """What becomes of each message of the batch, in its order."""
    match answer:
        case Postponed():
            return [_postpone(policy, answer, delivery) for delivery in batch]
        case Failed():
            return [_fail(policy, delivery, answer.error) for delivery in batch]
        case Succeeded():
            return _settle_success(policy, batch, answer.payload)
        case _:
            assert_never(answer)


def _settle_success(policy: Policy, batch: Sequence[Delivery], payload: bytes) -> list[Fate]:
    if not policy.report_failures:
        return [Acknowledge() for _ in batch]
    failed = find_failures(payload, {delivery.message_id for delivery in batch})
    if failed is None:
        return [_fail(policy, delivery, "MalformedBatchItemFailures") for delivery in batch]
    return [
        _fail(policy, delivery, "BatchItemFailure") if delivery.message_id in failed else Acknowledge()
        for delivery in batch
    ]


def find_failures(payload: bytes, known: Iterable[str]) -> frozenset[str] | None:
    """The message ids that the answer names as failed. None: the answer is malformed, and all of the batch failed.

    "Lambda treats a batch as a complete success if your function returns an empty batchItemFailures list, a null
    batchItemFailures list, an empty EventResponse, a null EventResponse."
    """
    try:
        answer = json.loads(payload or b"null")
    except ValueError:
        return None
    if answer is None:
        return frozenset()
    if not isinstance(answer, dict):
        return None
    items = answer.get("batchItemFailures")
    return frozenset() if items is None else _identifiers(items, frozenset(known))


def _identifiers(items: object, known: frozenset[str]) -> frozenset[str] | None:
    if not isinstance(items, list):
        return None
    found = {str(item.get("itemIdentifier")) if isinstance(item, dict) else "" for item in items}
    return frozenset(found) if found <= known else None


def _fail(policy: Policy, delivery: Delivery, error: str) -> Fate:
    if delivery.receives >= policy.maximum_receives:
        return GiveUp(error)
    return Retry(policy.redelivery.delay(delivery.receives))


def _postpone(policy: Policy, answer: Postponed, delivery: Delivery) -> Fate:
    backoff = policy.redelivery.delay(delivery.receives)
    return Retry(max(backoff, answer.retry_after_seconds or 0.0), counts=False)


def _batches(policy: Policy, messages: int) -> int:
    return math.ceil(max(0, messages) / policy.batch_size)
