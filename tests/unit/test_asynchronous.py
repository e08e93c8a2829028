"""What becomes of an event after each attempt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.api.event_invoke import EventInvokeConfig
from funclet.core.asynchronous import (
    READ_AHEAD,
    Attempt,
    Finish,
    NotRun,
    Progress,
    Ran,
    Step,
    Stopped,
    TryAgain,
    backlog,
    decide,
    events_to_fetch,
    is_too_old,
)

CONFIG = EventInvokeConfig()
ONCE = EventInvokeConfig(maximum_retry_attempts=0)
SHORT = EventInvokeConfig(maximum_event_age_in_seconds=60)
GOOD, BAD = Ran(b"1"), Ran(b'{"errorMessage": "no"}', "Unhandled")
FIRST = Progress(1, 0, BAD)
SECOND = Progress(2, 0, BAD)


@pytest.mark.parametrize(
    ("config", "progress", "attempt", "age", "step"),
    [
        (CONFIG, Progress(), GOOD, 0.1, Finish("Success", Progress(1, 0, GOOD))),
        (CONFIG, SECOND, GOOD, 200, Finish("Success", Progress(3, 0, GOOD))),
        (CONFIG, Progress(), BAD, 0.1, TryAgain(60, FIRST)),
        (CONFIG, FIRST, BAD, 61, TryAgain(120, SECOND)),
        (CONFIG, SECOND, BAD, 182, Finish("RetriesExhausted", Progress(3, 0, BAD))),
        (ONCE, Progress(), BAD, 0.1, Finish("RetriesExhausted", FIRST)),
        (SHORT, Progress(), BAD, 0.1, Finish("EventAgeExceeded", FIRST)),
        (CONFIG, Progress(), NotRun("Throttled"), 0.1, TryAgain(1, Progress(0, 1))),
        (CONFIG, Progress(0, 3), NotRun("Throttled"), 9, TryAgain(8, Progress(0, 4))),
        (CONFIG, Progress(0, 20), NotRun("Throttled"), 4000, TryAgain(300, Progress(0, 21))),
        (CONFIG, Progress(), NotRun("Throttled", 20), 0.1, TryAgain(20, Progress(0, 1))),
        (CONFIG, FIRST, NotRun("GatewayUnavailable"), 61, TryAgain(1, Progress(1, 1, BAD))),
        (SHORT, Progress(0, 5), NotRun("Throttled"), 40, Finish("EventAgeExceeded", Progress(0, 6))),
        (CONFIG, Progress(), Stopped("ZeroReservedConcurrency"), 1, Finish("ZeroReservedConcurrency", Progress())),
        (CONFIG, FIRST, Stopped("RecursiveInvocation"), 61, Finish("RecursiveInvocation", FIRST)),
    ],
)
def test_what_becomes_of_an_event(
    config: EventInvokeConfig, progress: Progress, attempt: Attempt, age: float, step: Step
) -> None:
    assert decide(config, progress, attempt, age) == step


def test_the_delays_can_be_set() -> None:
    assert decide(CONFIG, Progress(), BAD, 0, (0.5, 1)) == TryAgain(0.5, FIRST)
    assert decide(CONFIG, FIRST, BAD, 0, (0.5, 1)) == TryAgain(1, SECOND)


@pytest.mark.parametrize(("age", "too_old"), [(0, False), (60, False), (60.1, True)])
def test_an_event_is_tried_up_to_its_age(age: float, too_old: bool) -> None:
    assert is_too_old(SHORT, age) is too_old


attempts = st.one_of(st.just(GOOD), st.just(BAD), st.builds(NotRun, st.just("Throttled"), st.none() | st.floats(0, 60)))


@given(st.lists(attempts, max_size=60), st.integers(0, 2), st.integers(60, 21600))
def test_every_event_comes_to_an_end_in_time(given_attempts: list[Attempt], retries: int, age_limit: int) -> None:
    config = EventInvokeConfig(maximum_retry_attempts=retries, maximum_event_age_in_seconds=age_limit)
    age, progress, runs = 0.0, Progress(), 0
    for attempt in given_attempts:
        runs += isinstance(attempt, Ran)
        step = decide(config, progress, attempt, age)
        assert step.progress.attempts == runs <= retries + 1
        if isinstance(step, Finish):
            return
        age, progress = age + step.delay_seconds, step.progress
        assert not is_too_old(config, age)


@pytest.mark.parametrize(
    ("running", "at_hand", "capacity", "fetch"),
    [
        (0, 0, 1, 1 + READ_AHEAD),
        (0, 0, 0, READ_AHEAD),
        (1, READ_AHEAD, 1, 0),
        (1, READ_AHEAD // 2 + 1, 1, 0),
        (1, READ_AHEAD // 2, 1, READ_AHEAD // 2),
        (4, 0, 100, 96 + READ_AHEAD),
        (10, READ_AHEAD, 1, 0),
    ],
)
def test_events_are_fetched_several_at_a_time(running: int, at_hand: int, capacity: int, fetch: int) -> None:
    assert events_to_fetch(running, at_hand, capacity) == fetch


def test_what_runs_and_what_is_delayed_needs_no_instance() -> None:
    assert backlog(depth=10, running=3, delayed=2) == 5
    assert backlog(depth=1, running=3, delayed=0) == 0
