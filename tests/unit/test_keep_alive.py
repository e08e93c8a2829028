"""How long an idle instance is kept by the gaps between its uses, and when its return is predicted."""

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.core.keep_alive import (
    DEPARTED_KEPT,
    GAPS_KEPT,
    LEAST_SECONDS,
    LEVELS,
    MARGIN,
    MOST_SECONDS,
    AdaptiveKeepAlive,
    FixedKeepAlive,
    plan_keep_alive,
)

PRICE = 60.0
CHANCE = random.Random(1)

gaps = st.lists(st.floats(LEAST_SECONDS, MOST_SECONDS, width=32), max_size=GAPS_KEPT)
prices = st.floats(1, 3600)


def exponential(mean_seconds: float, count: int = GAPS_KEPT) -> list[float]:
    return [LEAST_SECONDS + CHANCE.expovariate(1 / mean_seconds) for _ in range(count)]


@given(prices)
def test_without_history_it_is_a_fixed_timeout(price: float) -> None:
    plan = plan_keep_alive(price, [])
    assert plan.keep_seconds == price
    assert plan.predicted is None


@given(prices, gaps)
def test_the_bounds_hold_for_any_history(price: float, history: list[float]) -> None:
    plan = plan_keep_alive(price, history)
    assert LEAST_SECONDS <= plan.keep_seconds <= MOST_SECONDS
    if plan.predicted is not None:
        assert plan.keep_seconds <= plan.predicted[0] <= plan.predicted[1]


@given(prices, gaps, st.randoms(use_true_random=False))
def test_the_order_of_gaps_does_not_matter(price: float, history: list[float], chance: random.Random) -> None:
    shuffled = list(history)
    chance.shuffle(shuffled)
    assert plan_keep_alive(price, shuffled) == plan_keep_alive(price, history)


@given(gaps, prices, prices)
def test_a_dearer_cold_start_never_means_a_shorter_time(history: list[float], one: float, other: float) -> None:
    """But for the margin that is put on a gap and not on a price that lies just above it."""
    low, high = sorted((one, other))
    assert plan_keep_alive(low, history).keep_seconds <= MARGIN * plan_keep_alive(high, history).keep_seconds


def cost(timeout: float, history: list[float]) -> float:
    return sum(PRICE if gap > timeout else 0 for gap in history) + sum(min(gap, timeout) for gap in history)


@given(gaps.filter(lambda history: len(history) >= 32), st.floats(LEAST_SECONDS, MOST_SECONDS))
def test_no_fixed_timeout_would_have_been_much_cheaper(history: list[float], timeout: float) -> None:
    """But for what the assumption about unseen gaps weighs (four of 64 seconds) and the margin of five percent."""
    assert cost(plan_keep_alive(PRICE, history).keep_seconds, history) <= 1.05 * cost(timeout, history) + 4 * 64


@pytest.mark.parametrize(("mean_seconds", "kept"), [(5, True), (20, True), (300, False), (3600, False)])
def test_what_returns_soon_is_kept_and_what_returns_late_is_not(mean_seconds: float, *, kept: bool) -> None:
    history = exponential(mean_seconds)
    returned = sum(gap <= plan_keep_alive(PRICE, history).keep_seconds for gap in history)
    assert (returned / len(history) > 0.9) is kept


def test_a_function_shows_some_gaps_before_it_is_treated_differently() -> None:
    keeps = [plan_keep_alive(PRICE, [600.0] * count).keep_seconds for count in range(6)]
    assert keeps == [60, 60, 60, 60, 1, 1]


def test_a_schedule_is_met_by_a_window() -> None:
    history = [600 + CHANCE.uniform(-2, 2) for _ in range(GAPS_KEPT)]
    plan = plan_keep_alive(PRICE, history)
    assert plan.keep_seconds == LEAST_SECONDS
    assert plan.predicted is not None
    start, end = plan.predicted
    assert 590 < start < min(history)
    assert max(history) < end < 610


@pytest.mark.parametrize("mean_seconds", [30, 60, 200, 2000, 20000])
def test_chance_is_not_taken_for_a_schedule(mean_seconds: float) -> None:
    assert all(plan_keep_alive(PRICE, exponential(mean_seconds)).predicted is None for _ in range(50))


def test_gaps_too_short_to_matter_are_not_noted() -> None:
    history = AdaptiveKeepAlive(PRICE)
    for _ in range(1000):
        history.used_again(0.5, level=1)
    assert history.plan(1).keep_seconds == PRICE


def test_old_habits_are_forgotten() -> None:
    history = AdaptiveKeepAlive(PRICE)
    for gap in [600.0] * GAPS_KEPT + [30.0] * GAPS_KEPT:
        history.used_again(gap, level=1)
    assert history.plan(1).keep_seconds == PRICE
    assert history.plan(1).predicted is None


def test_each_level_has_its_own_history() -> None:
    history = AdaptiveKeepAlive(PRICE)
    for _ in range(GAPS_KEPT):
        history.used_again(5.0, level=1)
        history.used_again(900.0, level=6)
    assert history.plan(1).keep_seconds >= PRICE
    assert history.plan(5).keep_seconds == history.plan(8).keep_seconds == LEAST_SECONDS
    assert history.plan(200).keep_seconds == PRICE


def test_the_gap_of_one_that_is_gone_ends_with_the_first_use_of_the_next() -> None:
    history = AdaptiveKeepAlive(PRICE)
    history.first_used(0.0, level=1)
    for start in range(0, 6000, 600):
        history.departed(start + 0.0)
        history.first_used(start + 600.0, level=1)
    window = history.plan(1).predicted
    assert window is not None
    assert window[0] < 600 < window[1]


def learned_schedule() -> AdaptiveKeepAlive:
    history = AdaptiveKeepAlive(PRICE)
    for _ in range(8):
        history.used_again(600.0, level=1)
    return history


def test_an_instance_is_due_before_its_window_and_until_it_ends() -> None:
    history = learned_schedule()
    assert history.predicted_count(10_600.0, 0.1, present=0) == 0
    history.departed(10_000.0)
    due = history.next_due(10_001.0, 0.1, present=0)
    assert due is not None
    assert due == pytest.approx(10_000 + 599 - 0.1)
    assert history.predicted_count(due - 0.01, 0.1, present=0) == 0
    assert history.predicted_count(due, 0.1, present=0) == 1
    assert history.predicted_count(10_601.0, 0.1, present=0) == 1
    assert history.predicted_count(10_601.1, 0.1, present=0) == 0
    assert history.next_due(due, 0.1, present=0) is None


def test_a_prediction_is_for_the_level_after_those_present() -> None:
    history = learned_schedule()
    history.departed(10_000.0)
    assert history.predicted_count(10_600.0, 0.1, present=1) == 0


def test_a_fixed_time_predicts_nothing() -> None:
    fixed = FixedKeepAlive(60)
    for _ in range(20):
        fixed.used_again(600.0, level=1)
        fixed.departed(0.0)
        fixed.first_used(600.0, level=1)
    assert fixed.plan(1).keep_seconds == 60
    assert fixed.predicted_count(600.0, 0.1, present=0) == 0
    assert fixed.next_due(0.0, 0.1, present=0) is None


def size(thing: object) -> int:
    """Bytes of an object and of all that only it refers to."""
    if isinstance(thing, list):
        return sys.getsizeof(thing) + sum(size(item) for item in thing)
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    inner = [getattr(thing, name) for name in slots if not isinstance(getattr(thing, name), float | int)]
    return sys.getsizeof(thing) + sum(size(item) for item in inner if isinstance(item, list) or slots)


def test_memory_is_bounded() -> None:
    """About half a KiB for a function with one instance, four KiB for one with a hundred."""
    small, large = AdaptiveKeepAlive(PRICE), AdaptiveKeepAlive(PRICE)
    for number in range(10_000):
        small.used_again(1.0 + number % 500, level=1)
        large.used_again(1.0 + number % 500, level=1 + number % 100)
        large.departed(float(number))
    small.plan(1)
    for level in range(1, 101):
        large.plan(level)
    assert size(small) < 1024
    assert size(large) < LEVELS * 700
    assert large.predicted_count(0.0, 1e9, present=0) <= DEPARTED_KEPT


def test_the_newest_of_those_that_are_gone_is_needed_first() -> None:
    history = AdaptiveKeepAlive(PRICE)
    for since in (50.0, 10.0, 30.0):
        history.departed(since)
    due = [since + 599 for since in (10.0, 30.0, 50.0)]
    for _ in range(8):
        history.used_again(600.0, level=1)
        history.used_again(600.0, level=2)
        history.used_again(600.0, level=3)
    moments = [60.0]
    while (moment := history.next_due(moments[-1], 0.0, present=0)) is not None:
        moments.append(moment)
    assert moments[1:] == pytest.approx(due)
