"""Synthetic traces have the distributions that they are named after, and the same seed gives the same trace."""

import random
from itertools import islice, pairwise
from statistics import fmean, median, pstdev

import pytest

from funclet.core.arrival_rate import MEMORY_SECONDS, ArrivalRate
from funclet.core.arrivals import PROCESSES, Workload, azure_mix, cron, synthetic_trace

DAY = 86400.0


def gaps(process: str, mean_seconds: float = 60.0, count: int = 20_000) -> list[float]:
    arrivals = islice(PROCESSES[process](mean_seconds, random.Random(1).random), count)
    return [later - earlier for earlier, later in pairwise(arrivals)]


@pytest.mark.parametrize(
    ("process", "variation"),
    [("poisson", (0.95, 1.05)), ("bursty", (3.0, 8.0)), ("cron", (0.0, 0.05)), ("lognormal", (2.2, 3.6))],
)
def test_gaps_have_the_mean_and_the_variation_that_they_should(process: str, variation: tuple[float, float]) -> None:
    found = gaps(process)
    assert min(found) >= 0
    assert fmean(found) == pytest.approx(60, rel=0.1)
    assert variation[0] <= pstdev(found) / fmean(found) <= variation[1]


def test_pareto_gaps_have_a_heavy_tail() -> None:
    found = sorted(gaps("pareto"))
    assert found[0] == pytest.approx(20, rel=0.01)
    assert median(found) == pytest.approx(20 * 2 ** (1 / 1.5), rel=0.05)
    assert found[-1] > 100 * median(found)


def test_a_schedule_stays_in_order_whatever_its_jitter() -> None:
    arrivals = list(islice(cron(10, random.Random(1).random, jitter_seconds=100), 1000))
    assert arrivals == sorted(arrivals)


@pytest.mark.parametrize("process", PROCESSES)
def test_the_same_seed_gives_the_same_trace(process: str) -> None:
    workload = Workload(functions=3, seconds=3600, mean_seconds=30, duration_seconds=0.1)
    one, other = (synthetic_trace(process, workload, random.Random(7).random) for _ in range(2))
    assert one == other
    assert one != synthetic_trace(process, workload, random.Random(8).random)
    assert all(call < 3600 for calls in one.values() for call in calls.arrivals)


def test_the_mix_has_the_published_rates() -> None:
    """45 % of functions at most once an hour, 81 % at most once a minute; timers are as published too."""
    functions = 1000
    trace = azure_mix(functions, DAY / 4, random.Random(1).random)
    timers = sum(name.startswith("timer") for name in trace)
    hourly = sum(len(calls.arrivals) <= 6 for name, calls in trace.items() if not name.startswith("timer"))
    by_minute = sum(len(calls.arrivals) <= 360 for name, calls in trace.items() if not name.startswith("timer"))
    uncalled = functions - len(trace)
    assert 0.09 <= timers / functions <= 0.19  # some have not come round in a quarter of a day
    others = functions * 0.84
    assert 0.38 <= (hourly + uncalled) / others <= 0.52
    assert 0.76 <= (by_minute + uncalled) / others <= 0.87


def test_a_steady_counter_has_its_rate_and_a_burst_is_spread() -> None:
    steady = ArrivalRate(0, 0.0)
    for tenth in range(1, 2001):
        steady.advance(2 * tenth, tenth / 10)
    assert steady.per_second(200.0) == pytest.approx(20, rel=0.01)
    burst = ArrivalRate(0, 0.0)
    burst.advance(300, 1.0)
    assert burst.per_second(1.0) == pytest.approx(300 / MEMORY_SECONDS)
    assert burst.per_second(1.0 + 10 * MEMORY_SECONDS) < 0.001


def test_a_counter_that_went_back_has_begun_anew() -> None:
    rate = ArrivalRate(1000, 0.0)
    rate.advance(3, 1.0)
    assert rate.per_second(1.0) == pytest.approx(3 / MEMORY_SECONDS)
