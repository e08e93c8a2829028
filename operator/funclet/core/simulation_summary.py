"""The figures of a simulation, and the fixed timeout that it is fair to compare them with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from funclet.core.keep_alive import LEAST_SECONDS, MOST_SECONDS, FixedKeepAlive
from funclet.core.simulation import Outcome, Strategy, Trace, simulate

EQUAL_WITHIN = 0.005
"""Two idle times are equal when they differ by no more than this share."""
MOST_BISECTIONS = 24


@dataclass(frozen=True, slots=True)
class Summary:
    """What one strategy made of one trace. Waits are in milliseconds."""

    strategy: str
    calls: int
    cold_starts: int
    cold_percent: float
    cold_percent_p75_function: float
    """Three in four functions have at most this share of cold starts (as in figure 15 of "Serverless in the Wild")."""
    wait_p50_ms: float
    wait_p95_ms: float
    wait_p99_ms: float
    wait_max_ms: float
    used_gb_seconds: float
    """Of instances while they ran something."""
    idle_gb_seconds: float
    """Of instances while they were starting or idle."""
    starts: int
    predicted_starts: int
    peak_instances: int


def summarise(strategy: str, outcome: Outcome, memory_mib: int) -> Summary:
    """The figures of an outcome, all of whose instances have this size."""
    waits = sorted(outcome.waits)
    gib = memory_mib / 1024
    p50, p95, p99, most = (1000 * percentile(waits, outcome.calls, percent) for percent in (50, 95, 99, 100))
    shares = sorted(outcome.cold_shares)
    return Summary(
        strategy=strategy,
        calls=outcome.calls,
        cold_starts=outcome.cold_starts,
        cold_percent=100 * outcome.cold_starts / max(1, outcome.calls),
        cold_percent_p75_function=100 * percentile(shares, len(shares), 75),
        wait_p50_ms=p50,
        wait_p95_ms=p95,
        wait_p99_ms=p99,
        wait_max_ms=most,
        used_gb_seconds=outcome.busy_seconds * gib,
        idle_gb_seconds=outcome.held_seconds * gib,
        starts=outcome.starts,
        predicted_starts=outcome.predicted_starts,
        peak_instances=peak(outcome),
    )


def percentile(ordered: Sequence[float], count: int, percent: int) -> float:
    """By nearest rank, of `count` values of which those that are missing in front are 0.

    >>> percentile([1.0, 2.0], 4, 50), percentile([1.0, 2.0], 4, 75)
    (0.0, 1.0)
    """
    rank = -(-count * percent // 100)
    position = rank - 1 - (count - len(ordered))
    return ordered[position] if position >= 0 and ordered else 0.0


def peak(outcome: Outcome) -> int:
    """The most instances of all functions at one moment."""
    changes = sorted([(at, -1) for at in outcome.ends_at] + [(at, 1) for at in outcome.starts_at])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def find_equal_timeout(trace: Trace, strategy: Strategy, held_seconds: float) -> tuple[float, Outcome]:
    """The fixed timeout that keeps instances idle for as long in all as another policy did, and what it leads to.

    The longer a timeout, the longer instances are idle: found by bisection. The nearest there is, if none is equal.
    """
    low, high = LEAST_SECONDS, MOST_SECONDS
    for _ in range(MOST_BISECTIONS):
        timeout = (low * high) ** 0.5
        outcome = simulate(trace, replace(strategy, keep_alive=partial(FixedKeepAlive, timeout)))
        if abs(outcome.held_seconds - held_seconds) <= EQUAL_WITHIN * held_seconds:
            break
        low, high = (timeout, high) if outcome.held_seconds < held_seconds else (low, timeout)
    return timeout, outcome
