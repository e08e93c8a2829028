"""What the simulator makes of traces whose outcome is known beforehand."""

import random
from array import array
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from funclet.core.arrivals import cron, poisson
from funclet.core.baselines import PercentileKeepAlive, instance_per_call, ladder
from funclet.core.demand import Demand
from funclet.core.keep_alive import AdaptiveKeepAlive, FixedKeepAlive, IdleHistory
from funclet.core.scaling import Policy, ScaleDecision, decide
from funclet.core.simulation import REPORT_SECONDS, Calls, Strategy, Trace, simulate
from funclet.core.simulation_summary import find_equal_timeout, peak, percentile, summarise

START_SECONDS = 0.5
MINUTE = Strategy(decide, lambda: FixedKeepAlive(60), Policy(), START_SECONDS)


def trace(arrivals: Iterable[float], duration: float = 0.25) -> Trace:
    times = array("d", arrivals)
    return {"f": Calls(times, array("d", [duration] * len(times)))}


def until(seconds: float, process: Iterable[float]) -> list[float]:
    times = []
    for moment in process:
        if moment > seconds:
            break
        times.append(moment)
    return times


def test_the_first_call_waits_for_a_start_and_the_next_ones_do_not() -> None:
    outcome = simulate(trace([10, 20, 30]), MINUTE)
    assert (outcome.calls, outcome.cold_starts, outcome.starts) == (3, 1, 1)
    assert list(outcome.waits) == [START_SECONDS]
    assert outcome.busy_seconds == pytest.approx(3 * 0.25)
    assert outcome.held_seconds == pytest.approx(30.25 - 10 - 3 * 0.25)


def test_after_the_timeout_a_call_is_cold_again() -> None:
    outcome = simulate(trace([0, 100, 159, 300]), MINUTE)
    assert outcome.cold_starts == outcome.starts == 3
    assert outcome.held_seconds == pytest.approx((0.5 + 60) + (0.5 + 58.25 + 60) + 0.5)


def test_calls_at_once_get_an_instance_each_in_one_step() -> None:
    outcome = simulate(trace([0] * 16, duration=1.0), MINUTE)
    assert outcome.cold_starts == outcome.starts == peak(outcome) == 16
    assert max(outcome.waits) == START_SECONDS + REPORT_SECONDS  # the first call is reported before the others


def test_slots_of_one_instance_are_shared() -> None:
    outcome = simulate(trace([0] * 16, duration=1.0), replace(MINUTE, policy=Policy(concurrency=4)))
    assert (outcome.cold_starts, outcome.starts) == (16, 4)
    assert outcome.busy_seconds == pytest.approx(4.0)


def test_short_calls_wait_for_each_other_rather_than_for_starts() -> None:
    known = [0.0] + [10.0] * 100
    assert simulate(trace(known, duration=0.002), MINUTE).starts == 1
    assert simulate(trace(known, duration=0.002), replace(MINUTE, decide=instance_per_call)).starts > 90


def decisions(duration: float) -> int:
    """How often is decided on forty calls within forty milliseconds, for which there is one instance."""
    queues = []

    def note(policy: Policy, demand: Demand, current: int, predicted: int) -> ScaleDecision:
        queues.append(demand.queued)
        return decide(policy, demand, current, predicted)

    calls = [0.0] + [10.0 + 0.001 * number for number in range(40)]
    simulate(trace(calls, duration), replace(MINUTE, decide=note))
    return sum(queued > 0 for queued in queues)


def test_a_queue_that_will_soon_be_served_is_decided_on_as_seldom_as_the_gateway_reports_it() -> None:
    assert decisions(0.002) <= 3, "at once and after 100 ms, and for the first call of all"
    assert decisions(0.2) > 8, "every 5 ms while it is pressing"


def test_the_limit_of_instances_holds() -> None:
    outcome = simulate(trace([0] * 10, duration=1.0), replace(MINUTE, policy=Policy(max_instances=3)))
    assert peak(outcome) == 3
    assert max(outcome.waits) == pytest.approx(START_SECONDS + 3.0)


def test_provisioned_instances_stay_once_they_are_there() -> None:
    outcome = simulate(trace([0, 1000]), replace(MINUTE, policy=Policy(provisioned=2)))
    assert (outcome.cold_starts, outcome.starts) == (1, 2)


def test_a_ladder_keeps_callers_waiting() -> None:
    arrivals = trace([0.0] * 100 + [60.0], duration=10.0)
    steps = simulate(arrivals, replace(MINUTE, decide=ladder, report_seconds=15.0))
    at_once = simulate(arrivals, MINUTE)
    assert max(at_once.waits) < 0.6
    assert max(steps.waits) > 30


def test_a_load_that_stays_the_same_needs_no_more_instances_after_a_while() -> None:
    """Twenty calls a second of 0.25 s are five instances; a few more serve what comes together by chance."""
    arrivals = until(3600, poisson(0.05, random.Random(3).random))
    outcome = simulate(trace(arrivals), MINUTE)
    late = [started for started in outcome.starts_at if started > 600]
    assert len(late) < 100
    assert peak(outcome) < 20
    assert percentile(sorted(outcome.waits), outcome.calls, 99) < 0.25


@settings(max_examples=60, deadline=None)
@given(st.floats(0.02, 5), st.floats(0.001, 3), st.floats(0.05, 5), st.integers(1, 4))
def test_constant_input_is_answered_once(gap: float, duration: float, start: float, concurrency: int) -> None:
    """Calls that come evenly: what they need is there after a while, and nothing is started any more.

    Unless a call ends in the very moment in which another arrives: then the last digit says which is first.
    """
    assume(abs(duration / gap - round(duration / gap)) > 1e-9)
    arrivals = [number * gap for number in range(int(120 / gap))]
    policy = Policy(concurrency=concurrency, max_instances=1000)
    outcome = simulate(trace(arrivals, duration), replace(MINUTE, policy=policy, start_seconds=start))
    assert not [started for started in outcome.starts_at if started > 60]


def test_a_schedule_is_learned() -> None:
    arrivals = until(100 * 600, cron(600, random.Random(5).random))
    fixed = simulate(trace(arrivals), MINUTE)
    adaptive = simulate(trace(arrivals), replace(MINUTE, keep_alive=lambda: AdaptiveKeepAlive(60)))
    assert fixed.cold_starts == len(arrivals)
    assert adaptive.cold_starts < 10
    assert adaptive.predicted_starts == adaptive.starts - adaptive.cold_starts
    assert adaptive.held_seconds < 0.2 * fixed.held_seconds


def keep_alives() -> st.SearchStrategy[Callable[[], IdleHistory]]:
    fixed = st.floats(1, 1000).map(lambda seconds: lambda: FixedKeepAlive(seconds))
    adaptive = st.floats(1, 1000).map(lambda seconds: lambda: AdaptiveKeepAlive(seconds))
    return st.one_of(fixed, adaptive, st.just(PercentileKeepAlive))


strategies = st.builds(
    Strategy,
    st.sampled_from([decide, instance_per_call, ladder]),
    keep_alives(),
    st.builds(Policy, concurrency=st.integers(1, 4), max_instances=st.integers(1, 20)),
    st.floats(0.01, 20),
    st.floats(0.005, 15),
)
calls = st.lists(st.tuples(st.floats(0, 20_000), st.floats(0, 100)), min_size=1, max_size=60)


@settings(max_examples=300, deadline=None)
@given(calls, strategies)
def test_whatever_the_trace_all_calls_run_and_the_sums_agree(
    given_calls: list[tuple[float, float]], strategy: Strategy
) -> None:
    given_calls.sort()
    arrivals, durations = (array("d", column) for column in zip(*given_calls, strict=True))
    outcome = simulate({"f": Calls(arrivals, durations)}, strategy)
    lifetimes = sum(outcome.ends_at) - sum(outcome.starts_at)
    assert outcome.calls == len(given_calls)
    assert outcome.cold_starts <= len(outcome.waits) <= outcome.calls
    assert outcome.starts == len(outcome.starts_at) == len(outcome.ends_at)
    assert outcome.busy_seconds + outcome.held_seconds == pytest.approx(lifetimes)
    assert sum(durations) / strategy.policy.concurrency <= outcome.busy_seconds * (1 + 1e-9) + 1e-9
    assert outcome.busy_seconds <= sum(durations) * (1 + 1e-9) + 1e-9
    assert outcome.held_seconds >= -1e-6
    assert 1 <= peak(outcome) <= strategy.policy.max_instances


def test_the_summary_is_in_milliseconds_and_gib() -> None:
    summary = summarise("x", simulate({**trace([0, 10, 20, 30]), "g": trace([5])["f"]}, MINUTE), memory_mib=512)
    assert (summary.calls, summary.cold_starts, summary.cold_percent) == (5, 2, 40.0)
    assert summary.cold_percent_p75_function == 100.0
    assert (summary.wait_p50_ms, summary.wait_p95_ms, summary.wait_max_ms) == (0.0, 500.0, 500.0)
    assert summary.used_gb_seconds == pytest.approx(5 * 0.25 / 2)
    assert summary.peak_instances == 2


def test_the_equal_timeout_is_found() -> None:
    arrivals = trace(until(50_000, poisson(60, random.Random(1).random)))
    seventy = simulate(arrivals, replace(MINUTE, keep_alive=lambda: FixedKeepAlive(70)))
    timeout, outcome = find_equal_timeout(arrivals, MINUTE, seventy.held_seconds)
    assert timeout == pytest.approx(70, rel=0.05)
    assert outcome.held_seconds == pytest.approx(seventy.held_seconds, rel=0.005)
