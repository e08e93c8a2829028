"""Asynchronous invocation: what becomes of an event after each attempt.

| the attempt                               | becomes                                                                |
|-------------------------------------------|------------------------------------------------------------------------|
| succeeded                                 | done; onSuccess gets a record                                          |
| failed, attempts left, young enough       | tried again after 1 minute, then 2 minutes                             |
| failed, the last one                      | given up: RetriesExhausted                                             |
| not run (throttled, no room, no answer)   | tried again after 1 s, doubling up to 5 minutes; no attempt is counted |
| would begin beyond the maximum age        | given up: EventAgeExceeded                                             |
| stopped: reserved concurrency is 0        | given up: ZeroReservedConcurrency                                      |
| stopped: a recursive loop                 | given up: RecursiveInvocation                                          |

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html: "Lambda ... attempts to run it two
more times, with a one-minute wait between the first two attempts, and two minutes between the second and third attempts
... for throttling errors and system errors ... the retry interval increases exponentially from 1 second after the first
attempt to a maximum of 5 minutes", for up to 6 hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from funclet.api.event_invoke import EventInvokeConfig
from funclet.core.backoff import Backoff

EVENT_LIMIT_BYTES = 1024 * 1024
"""Lambda's quota "Invocation payload, asynchronous": 1 MB."""
RETRY_SECONDS = (60.0, 120.0)
"""After the first failed attempt and after the second."""
POSTPONEMENT = Backoff(base_seconds=1.0, cap_seconds=300.0)
LONGEST_AGE_SECONDS = 21600
"""The largest maximumEventAgeInSeconds: older events of a function that is no more are dropped."""

StopReason = Literal["ZeroReservedConcurrency", "RecursiveInvocation"]
FinalCondition = Literal[
    "Success", "RetriesExhausted", "EventAgeExceeded", "ZeroReservedConcurrency", "RecursiveInvocation"
]


@dataclass(frozen=True, slots=True)
class Event:
    """An accepted event. `key` is that of the version that is to run; `accepted_ms` are milliseconds since 1970."""

    request_id: str
    key: str
    payload: bytes
    accepted_ms: int = 0
    trace_id: str = ""
    client_context: str = ""
    """As the caller gave it: base64 of JSON."""
    qualifier: str = ""
    """As the caller named the version: its number, an alias or $LATEST; empty where no qualifier was given."""


@dataclass(frozen=True, slots=True)
class Ran:
    """The function ran with it. `error` is None, Handled or Unhandled."""

    payload: bytes
    error: str | None = None


@dataclass(frozen=True, slots=True)
class NotRun:
    """The function did not run with it, or nobody knows."""

    reason: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """The function may not run with it, now or later."""

    condition: StopReason


Attempt = Ran | NotRun | Stopped


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an event has come: attempts that ran the function, the last one's end, and the deliveries without one."""

    attempts: int = 0
    postponed: int = 0
    last: Ran | None = None


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Not before this time."""

    delay_seconds: float
    progress: Progress


@dataclass(frozen=True, slots=True)
class Finish:
    """It is over, with success or not."""

    condition: FinalCondition
    progress: Progress

    @property
    def succeeded(self) -> bool:
        """Whether the function succeeded with it."""
        return self.condition == "Success"


Step = TryAgain | Finish


def decide(
    config: EventInvokeConfig,
    progress: Progress,
    attempt: Attempt,
    age_seconds: float,
    retry_seconds: Sequence[float] = RETRY_SECONDS,
) -> Step:
    """What becomes of an event of this age after this attempt."""
    match attempt:
        case Ran():
            return _after_run(config, Progress(progress.attempts + 1, 0, attempt), attempt, age_seconds, retry_seconds)
        case Stopped(condition=condition):
            return Finish(condition, progress)
        case NotRun():
            after = replace(progress, postponed=progress.postponed + 1)
            delay = max(POSTPONEMENT.delay(after.postponed), attempt.retry_after_seconds or 0.0)
            return _within_age(config, delay, after, age_seconds)
        case _:
            assert_never(attempt)


def _after_run(
    config: EventInvokeConfig, after: Progress, ran: Ran, age_seconds: float, retry_seconds: Sequence[float]
) -> Step:
    if ran.error is None:
        return Finish("Success", after)
    if after.attempts > config.maximum_retry_attempts:
        return Finish("RetriesExhausted", after)
    return _within_age(config, retry_seconds[after.attempts - 1], after, age_seconds)


def _within_age(config: EventInvokeConfig, delay: float, progress: Progress, age_seconds: float) -> Step:
    """A wait that ends when the event is too old is not begun."""
    if age_seconds + delay > config.maximum_event_age_in_seconds:
        return Finish("EventAgeExceeded", progress)
    return TryAgain(delay, progress)


def is_too_old(config: EventInvokeConfig, age_seconds: float) -> bool:
    """Whether an event of this age is given up before another attempt."""
    return age_seconds > config.maximum_event_age_in_seconds


READ_AHEAD = 16
"""Events at hand beyond those that run, so that one request to JetStream brings several."""


def events_to_fetch(running: int, at_hand: int, capacity: int) -> int:
    """How many events to ask JetStream for, once half of what may be at hand is used up."""
    missing = capacity + READ_AHEAD - running - at_hand
    return missing if missing >= READ_AHEAD // 2 else 0


def backlog(depth: int, running: int, delayed: int) -> int:
    """Events that wait for an instance now, of all that are in the stream.

    What runs is counted by the gateway, and what waits for its next attempt needs nothing yet.
    """
    return max(0, depth - running - delayed)
