"""How long an idle instance is kept, and when one is started before it is asked for: by the function's own history.

An idle instance costs memory, a missing one costs a caller a cold start. The *price* says what a cold start is worth:
as much as an instance that idles for so many seconds.

A *gap* is the time from an instance's last use to the next call that needed it, or would have needed it if it had been
kept. As the most recently used instance is always taken first, a timeout of T makes exactly those calls warm whose gap
is at most T: gaps alone tell what every timeout would have cost (reuse distances, as in FaasCache: Fuerst and Sharma,
ASPLOS 2021). Each *level* has its own gaps: the fifth instance, needed when four are busy, is used less often than the
first.

Rules:
1. An instance is kept for the time T that would have been cheapest: price × (gaps beyond T) + the sum of min(gap, T).
2. Without history T is the price, as with a fixed timeout: in the worst case that costs twice the best in hindsight,
   and no other choice costs less (ski rental). `PRIOR_GAPS` gaps of the distribution for which it is the optimum
   (Pareto, α = 1) stand for what is not known yet: a function has to show some gaps before it is treated differently.
3. If most of the longer gaps end at about the same age (a schedule, a poll), an instance is started for that window,
   where that is worth its price. Windows for pre-warming and keeping by head and tail of the idle times are from
   Shahrad et al., "Serverless in the Wild", ATC 2020; the price replaces their percentiles.
4. Gaps of less than `LEAST_SECONDS` decide nothing and are not noted: a busy function costs nothing here.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from typing import Protocol

LEAST_SECONDS = 1.0
"""No idle instance goes sooner."""
MOST_SECONDS = 86400.0
"""Longer gaps count as this long: nothing is kept or predicted beyond a day."""
GAPS_KEPT = 64
"""The newest gaps of a level: a quarter of a KiB, and old habits are forgotten."""
DEPARTED_KEPT = 16
"""Instances that are gone and may be needed again: as many can be predicted at once."""
PRIOR_GAPS = 4.0
"""How many gaps the assumption of rule 2 weighs."""
LEVELS = 8
"""Histories of one function: one instance has one, a hundred have eight."""
LEAST_EVIDENCE = 4
"""Gaps that must have ended in a window before anything is started for it."""
MARGIN = 1.05
"""An instance is kept a little longer than the gap that it is kept for."""


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """What to do with an instance by its age, the seconds since it was last used."""

    keep_seconds: float
    predicted: tuple[float, float] | None = None
    """Ages between which one is there again although it was not kept."""


class IdleHistory(Protocol):
    """Hears of each use of a function's instances, and says how long they are kept.

    A *level* counts instances: the fifth is the one that is needed when four are busy.
    """

    def plan(self, level: int) -> KeepAlive:
        """What is best for the instance of this level by all that was heard."""

    def used_again(self, gap_seconds: float, level: int) -> None:
        """An instance was used after it had been idle for so long."""

    def first_used(self, now: float, level: int) -> None:
        """A new instance is used: it is needed as the last one that went would have been."""

    def departed(self, idle_since: float) -> None:
        """An instance that had been used is gone."""

    def predicted_count(self, now: float, lead_seconds: float, present: int) -> int:
        """How many of those that are gone should be there beside the `present` ones, or on their way for so long."""

    def next_due(self, now: float, lead_seconds: float, present: int) -> float | None:
        """When `predicted_count` rises next."""


class FixedKeepAlive:
    """The same time for all."""

    def __init__(self, seconds: float) -> None:
        self._plan = KeepAlive(seconds)

    def plan(self, level: int) -> KeepAlive:
        """The same for each level."""
        return self._plan

    def used_again(self, gap_seconds: float, level: int) -> None:
        """Changes nothing."""

    def first_used(self, now: float, level: int) -> None:
        """Changes nothing."""

    def departed(self, idle_since: float) -> None:
        """Changes nothing."""

    def predicted_count(self, now: float, lead_seconds: float, present: int) -> int:
        """Nothing is predicted."""
        return 0

    def next_due(self, now: float, lead_seconds: float, present: int) -> float | None:
        """Nothing is predicted."""
        return None


class AdaptiveKeepAlive:
    """The rules of this module for one function."""

    __slots__ = ("_departed", "_levels", "_price")

    def __init__(self, price_seconds: float) -> None:
        self._price = price_seconds
        self._levels: list[_Gaps] = []
        self._departed = array("d")

    def plan(self, level: int) -> KeepAlive:
        """What is best by the gaps of the instances of about this level."""
        return self._gaps(level).plan(self._price)

    def used_again(self, gap_seconds: float, level: int) -> None:
        """Note a gap."""
        if gap_seconds >= LEAST_SECONDS:
            self._gaps(level).add(gap_seconds)

    def first_used(self, now: float, level: int) -> None:
        """The gap of the one that went last ends now. Without any there is no gap."""
        if self._departed:
            self.used_again(now - self._departed.pop(), level)

    def departed(self, idle_since: float) -> None:
        """Remember the newest of those that are gone, in the order of their last use."""
        self._departed.insert(bisect_right(self._departed, idle_since), idle_since)
        if len(self._departed) > DEPARTED_KEPT:
            del self._departed[0]

    def predicted_count(self, now: float, lead_seconds: float, present: int) -> int:
        """How many of those that are gone are in their predicted window, or `lead_seconds` before it."""
        return sum(start - lead_seconds <= now <= end for start, end in self._windows(present))

    def next_due(self, now: float, lead_seconds: float, present: int) -> float | None:
        """When the next of those that are gone comes into its window."""
        due = (start - lead_seconds for start, _ in self._windows(present))
        return min((moment for moment in due if moment > now), default=None)

    def _windows(self, present: int) -> Iterator[tuple[float, float]]:
        """When each of those that are gone is expected again; the newest has the level after those present."""
        for level, since in enumerate(reversed(self._departed), present + 1):
            window = self.plan(level).predicted
            if window is not None:
                yield since + window[0], since + window[1]

    def _gaps(self, level: int) -> "_Gaps":
        """Levels 1, 2, 3 and 4, 5 to 8, 9 to 16 … are noted together."""
        position = min((level - 1).bit_length(), LEVELS - 1)
        while len(self._levels) <= position:
            self._levels.append(_Gaps())
        return self._levels[position]


class _Gaps:
    """The newest gaps of some levels, and what follows from them."""

    __slots__ = ("_gaps", "_oldest", "_plan", "_unplanned")

    def __init__(self) -> None:
        self._gaps = array("f")
        self._oldest = 0
        self._plan: KeepAlive | None = None
        self._unplanned = 0

    def add(self, gap_seconds: float) -> None:
        """The newest replaces the oldest."""
        gap = min(gap_seconds, MOST_SECONDS)
        if len(self._gaps) < GAPS_KEPT:
            self._gaps.append(gap)
        else:
            self._gaps[self._oldest] = gap
            self._oldest = (self._oldest + 1) % GAPS_KEPT
        self._unplanned += 1

    def plan(self, price_seconds: float) -> KeepAlive:
        """Made again when an eighth of the gaps is new."""
        if self._plan is None or self._unplanned * 8 > len(self._gaps):
            self._plan = plan_keep_alive(price_seconds, self._gaps)
            self._unplanned = 0
        return self._plan


def plan_keep_alive(price_seconds: float, gaps: Sequence[float]) -> KeepAlive:
    """The cheapest time to keep an instance, and the window in which its return can be predicted.

    >>> plan_keep_alive(60, [])
    KeepAlive(keep_seconds=60, predicted=None)
    """
    ordered = sorted(gaps)
    keep = _cheapest_timeout(price_seconds, ordered)
    longer = ordered[bisect_right(ordered, keep) :]
    return KeepAlive(keep, _find_window(price_seconds, keep, longer))


def _cheapest_timeout(price: float, ordered: list[float]) -> float:
    """Rule 1 and 2: what a timeout saves over `LEAST_SECONDS`, for each that could be the best.

    Between two gaps a longer timeout only costs, so each candidate is just beyond a gap, or the price itself.
    """
    best, best_saved = LEAST_SECONDS, 0.0
    count, within, idle_within = len(ordered), 0, 0.0
    for timeout in sorted([max(price, LEAST_SECONDS), *(gap * MARGIN for gap in ordered)]):
        while within < count and ordered[within] <= timeout:
            idle_within += ordered[within] - LEAST_SECONDS
            within += 1
        idle = idle_within + (count - within) * (timeout - LEAST_SECONDS)
        saved = price * within - idle + _prior_saving(price, timeout)
        if saved > best_saved:
            best, best_saved = timeout, saved
    return min(best, MOST_SECONDS)


def _prior_saving(price: float, timeout: float) -> float:
    """The same for `PRIOR_GAPS` gaps of which 1/t are longer than t seconds: largest at t = price."""
    return PRIOR_GAPS * (price * (1 - LEAST_SECONDS / timeout) - log(timeout / LEAST_SECONDS))


def _find_window(price: float, keep: float, longer: list[float]) -> tuple[float, float] | None:
    """Rule 3: the run of gaps that is worth most, each the price less the idle time until it, of all that get so far.

    All gaps but the window's first need only the step from their neighbour (a maximum subarray, by Kadane's scan). The
    window is a little wider than the run on both sides. It must hold most of the gaps and cost at most half of what it
    saves: chance makes worse ones.
    """
    if len(longer) < LEAST_EVIDENCE:
        return None
    best = (0.0, 0, 0)
    value, first = 0.0, 0
    for last, gap in enumerate(longer):
        step = price - (len(longer) - last) * (gap - longer[last - 1]) if last else 0.0
        if last == 0 or value + step < price:
            value, first = price, last
        else:
            value += step
        best = max(best, (value, first, last), key=lambda found: found[0])
    value, first, last = best
    found, reaching = last - first + 1, len(longer) - first
    side = LEAST_SECONDS + (longer[last] - longer[first]) / found
    saved = value - side * (2 * reaching - found)
    if found < max(LEAST_EVIDENCE, len(longer) / 2) or saved < price * found / 2:
        return None
    return max(keep, longer[first] - side), longer[last] + side
