"""A stream or queue consumed as Lambda consumes a queue: how it is batched, and when to take a batch."""

import math
from dataclasses import dataclass, replace

from funclet.api.sqs import SqsSource
from funclet.api.trigger import JetStreamSource
from funclet.core.backoff import REDELIVERY, Backoff

ACK_MARGIN_SECONDS = 30.0
"""Beside the function's timeout and the batching window: for a cold start and for the way there and back."""

MOST_ACK_PENDING = 65536
LEAST_ACK_PENDING = 1000
"""Messages that wait for their redelivery count as pending; too small a limit would let them block the others."""

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
    maximum_receives: int | None
    """None: the queue counts them itself, and nothing is given up here."""
    ack_wait_seconds: float
    """After this time a message that nobody settles is delivered again."""
    maximum_concurrency: int | None = None
    dead_letter_subject: str | None = None
    report_failures: bool = False
    redelivery: Backoff = REDELIVERY

    @property
    def heartbeat_seconds(self) -> float:
        """How often a running batch says that it is alive: two may be lost before the messages are delivered again."""
        return self.ack_wait_seconds / 3

    def with_visibility(self, seconds: float) -> "Policy":
        """The same for a queue that delivers again after this time."""
        return replace(self, ack_wait_seconds=seconds)

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
        report_failures=source.reports_failures,
    )


def sqs_policy_of(source: SqsSource) -> Policy:
    """The policy of a Trigger with a queue of SQS, whose visibility timeout is found when it is opened."""
    return Policy(
        batch_size=source.batch_size,
        window_seconds=float(source.maximum_batching_window_in_seconds),
        maximum_receives=None,
        ack_wait_seconds=0,
        maximum_concurrency=source.scaling_config.maximum_concurrency,
        report_failures=source.reports_failures,
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


def _batches(policy: Policy, messages: int) -> int:
    return math.ceil(max(0, messages) / policy.batch_size)
