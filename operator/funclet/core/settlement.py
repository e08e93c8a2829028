"""What becomes of the messages of a batch, by the answer to their invocation.

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
    from a queue that counts itself      is left to the queue: its visibility timeout, its redrive policy
    in a group, before others of it      … and so are the others, or the group's order would be lost
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never

from funclet.core.batching import Policy

ERROR_LENGTH = 512


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


@dataclass(frozen=True, slots=True)
class Leave:
    """Touch it no more: its queue delivers it again after its visibility timeout, or moves it to its dead letters."""


Fate = Acknowledge | Retry | GiveUp | Leave


@dataclass(frozen=True, slots=True)
class Delivery:
    """What settling needs to know of a message."""

    message_id: str
    receives: int
    group: str = ""


def settle(policy: Policy, batch: Sequence[Delivery], answer: Answer) -> list[Fate]:
    """What becomes of each message of the batch, in its order."""
    return keep_order(batch, _settle_each(policy, batch, answer))


def keep_order(batch: Sequence[Delivery], fates: Sequence[Fate]) -> list[Fate]:
    """After the first message of a group that comes again, the rest of the group comes again behind it."""
    kept: list[Fate] = []
    for at, fate in enumerate(fates):
        is_behind = batch[at].group in broken_groups(batch[:at], kept) if batch[at].group else False
        kept.append(Leave() if is_behind else fate)
    return kept


def broken_groups(batch: Sequence[Delivery], fates: Sequence[Fate]) -> frozenset[str]:
    """The groups of which a message comes again: none behind it may be handled before."""
    pairs = zip(batch, fates, strict=True)
    return frozenset(delivery.group for delivery, fate in pairs if delivery.group and not isinstance(fate, Acknowledge))


def _settle_each(policy: Policy, batch: Sequence[Delivery], answer: Answer) -> list[Fate]:
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
    if policy.maximum_receives is None:
        return Leave()
    if delivery.receives >= policy.maximum_receives:
        return GiveUp(error)
    return Retry(policy.redelivery.delay(delivery.receives))


def _postpone(policy: Policy, answer: Postponed, delivery: Delivery) -> Fate:
    backoff = policy.redelivery.delay(delivery.receives)
    return Retry(max(backoff, answer.retry_after_seconds or 0.0), counts=False)
