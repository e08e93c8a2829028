"""Synthetic traces: arrival processes with published distributions, from uniform random numbers that the caller gives.

| process   | calls arrive                                                                                        |
|-----------|-----------------------------------------------------------------------------------------------------|
| poisson   | independently of each other: exponential gaps                                                       |
| bursty    | in bursts: Poisson while a source is on, nothing while it is off, both for exponential times (an    |
|           | interrupted Poisson process; Kuczura, 1973)                                                         |
| cron      | every so many seconds, with normally distributed jitter                                             |
| lognormal | with lognormal gaps: mostly near, sometimes very far apart                                          |
| pareto    | with Pareto gaps: a heavy tail (α = 1.5: finite mean, infinite variance)                            |
| azure     | as a mix of functions like that of Azure Functions                                                  |
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import exp, log
from statistics import NormalDist
from typing import TypeVar

from funclet.core.simulation import Calls

Uniform = Callable[[], float]
"""Gives a random number of [0, 1)."""
Process = Iterator[float]
"""Times of arrival in ascending order, in seconds, without end."""

T = TypeVar("T")
NORMAL = NormalDist()
LEAST_CHANCE = 1e-12
"""The normal distribution has no value at 0."""


def exponential(mean: float, uniform: Uniform) -> float:
    """Memoryless, with this mean."""
    return -mean * log(1.0 - uniform())


def normal(uniform: Uniform) -> float:
    """Standard normal."""
    return NORMAL.inv_cdf(max(uniform(), LEAST_CHANCE))


def poisson(mean_seconds: float, uniform: Uniform) -> Process:
    """Gaps of this mean."""
    now = 0.0
    while True:
        now += exponential(mean_seconds, uniform)
        yield now


def bursty(mean_seconds: float, uniform: Uniform, calls_in_burst: float = 20.0, busy_share: float = 0.05) -> Process:
    """Bursts of so many calls on average, in this share of the time; gaps of this mean over all."""
    cycle_seconds = mean_seconds * calls_in_burst
    now = 0.0
    while True:
        now += exponential(cycle_seconds * (1 - busy_share), uniform)
        end = now + exponential(cycle_seconds * busy_share, uniform)
        while (now := now + exponential(mean_seconds * busy_share, uniform)) < end:
            yield now
        now = end


def cron(period_seconds: float, uniform: Uniform, jitter_seconds: float = 1.0) -> Process:
    """Every period, from a random phase on. The jitter is cut to less than half a period, so that order is kept."""
    due = period_seconds * (0.5 + uniform())
    most = 0.45 * period_seconds
    while True:
        yield due + max(-most, min(most, jitter_seconds * normal(uniform)))
        due += period_seconds


def lognormal(mean_seconds: float, uniform: Uniform, sigma: float = 1.5) -> Process:
    """Gaps of this mean; with σ = 1.5 their coefficient of variation is 2.9."""
    scale = mean_seconds * exp(-sigma * sigma / 2)
    now = 0.0
    while True:
        now += scale * exp(sigma * normal(uniform))
        yield now


def pareto(mean_seconds: float, uniform: Uniform, alpha: float = 1.5) -> Process:
    """Gaps of this mean, the least of them a third of it."""
    least = mean_seconds * (alpha - 1) / alpha
    now = 0.0
    while True:
        now += least * (1.0 - uniform()) ** (-1 / alpha)
        yield now


PROCESSES: dict[str, Callable[[float, Uniform], Process]] = {
    "poisson": poisson,
    "bursty": bursty,
    "cron": cron,
    "lognormal": lognormal,
    "pareto": pareto,
}


@dataclass(frozen=True, slots=True)
class Workload:
    """How many functions, for how long, and what their calls are like."""

    functions: int
    seconds: float
    mean_seconds: float
    """Between two calls of one function."""
    duration_seconds: float
    """Of a call, at the median."""


DURATION_SIGMA = 0.5
"""Of the lognormal durations of one function's calls: nine in ten within a factor of 2.3 of the median."""


def synthetic_trace(process: str, workload: Workload, uniform: Uniform) -> dict[str, Calls]:
    """A trace of functions that are all alike, without those that have no call. `process` is a key of `PROCESSES`."""
    calls = (
        _calls(PROCESSES[process](workload.mean_seconds, uniform), workload.seconds, workload.duration_seconds, uniform)
        for _ in range(workload.functions)
    )
    return {f"{process}-{number}": found for number, found in enumerate(calls) if found.arrivals}


# --- a mix like that of Azure Functions ---

HOUR, MINUTE = 3600.0, 60.0

RATE_CLASSES = (
    (0.45, (24 * HOUR, HOUR)),
    (0.81, (HOUR, MINUTE)),
    (0.97, (MINUTE, 1.0)),
    (1.0, (1.0, 0.25)),
)
"""Share of functions (cumulated) by the mean time between their calls, from the longest to the shortest.

Shahrad et al., "Serverless in the Wild", ATC 2020, section 3.3: 45 % of applications are called at most once an hour,
81 % at most once a minute, some 3 % more than once a second. Inside a class rates are log-uniform; the ends (one a day,
four a second) are ours.
"""

TIMER_SHARE = 0.16
"""Of functions have a timer (ibid., figure 2)."""
TIMER_PERIODS = (1 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 24 * HOUR)
"""Ours: the paper gives no distribution of periods."""

PATTERNS = ((0.15, "cron"), (0.40, "poisson"), (0.70, "lognormal"), (1.0, "bursty"))
"""Of the others (cumulated). The paper (section 3.3) says that some are nearly periodic without a timer, and that many
are more variable than a Poisson process; the shares are ours."""

DURATION_LOG_MEAN, DURATION_LOG_SIGMA = -0.38, 2.36
"""Mean durations over functions are lognormal in seconds (ibid., section 3.4)."""
LONGEST_SECONDS = 60.0
MOST_BUSY = 4.0
"""Ours: no call's median is longer than a minute, and no function keeps more than four instances busy on average."""


def azure_mix(functions: int, seconds: float, uniform: Uniform) -> dict[str, Calls]:
    """A trace of unlike functions. Those without a call in the time are left out."""
    trace = {}
    for number in range(functions):
        name, mean_seconds, process = _azure_function(uniform)
        duration = exp(DURATION_LOG_MEAN + DURATION_LOG_SIGMA * normal(uniform))
        calls = _calls(process, seconds, min(duration, LONGEST_SECONDS, MOST_BUSY * mean_seconds), uniform)
        if calls.arrivals:
            trace[f"{name}-{number}"] = calls
    return trace


def _azure_function(uniform: Uniform) -> tuple[str, float, Process]:
    """What it is called by, the mean time between its calls, and their times."""
    if uniform() < TIMER_SHARE:
        period_seconds = TIMER_PERIODS[int(uniform() * len(TIMER_PERIODS))]
        return "timer", period_seconds, cron(period_seconds, uniform)
    slowest, fastest = _choose(RATE_CLASSES, uniform)
    mean_seconds = slowest * (fastest / slowest) ** uniform()
    pattern = _choose(PATTERNS, uniform)
    if pattern == "cron":
        return pattern, mean_seconds, cron(mean_seconds, uniform, jitter_seconds=0.02 * mean_seconds)
    return pattern, mean_seconds, PROCESSES[pattern](mean_seconds, uniform)


def _choose(classes: tuple[tuple[float, T], ...], uniform: Uniform) -> T:
    """The first class whose cumulated share is beyond a random number; the last one's is 1."""
    chance = uniform()
    return next(found for share, found in classes if chance < share)


def _calls(process: Process, seconds: float, median_seconds: float, uniform: Uniform) -> Calls:
    """All arrivals before the end."""
    arrivals, durations = array("d"), array("d")
    for arrival in process:
        if arrival >= seconds:
            break
        arrivals.append(arrival)
        durations.append(median_seconds * exp(DURATION_SIGMA * normal(uniform)))
    return Calls(arrivals, durations)
