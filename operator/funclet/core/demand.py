"""What all reporters say of the functions, kept in memory and put together.

A reporter that is silent for `UNKNOWN_AFTER_SECONDS` is unknown: what it said holds, and lowers nothing. After
`FORGOTTEN_AFTER_SECONDS` it never was there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from funclet.core.arrival_rate import ArrivalRate
from funclet.core.messages import DemandReport, FunctionDemand

UNKNOWN_AFTER_SECONDS = 10.0
FORGOTTEN_AFTER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Demand:
    """The sum over all reporters for one function."""

    queued: int = 0
    in_flight: int = 0
    backlog: int | None = 0
    """Batches that wait in event sources; None: at least one source could not be read. All events processes look at the
    same sources, so their words are not added up: the largest counts."""
    service_seconds: float | None = None
    arrivals_per_second: float = 0.0
    """Over the last half minute or so; 0 until a function has been seen for a while. It only ever adds instances."""
    init_seconds: float | None = None
    """How long the init phase takes; None until one has ended."""
    certain: bool = True
    """False while a reporter that has spoken of the function is silent."""

    @property
    def is_zero(self) -> bool:
        """Nobody waits and nothing runs, for certain."""
        return self.certain and not self.queued and not self.in_flight and self.backlog == 0


@dataclass(slots=True)
class _Word:
    demand: FunctionDemand
    at: float
    rate: ArrivalRate


@dataclass(slots=True)
class _Reporter:
    heard_at: float
    words: dict[str, _Word] = field(default_factory=dict)


class DemandBook:
    """Every reporter's last word on every function."""

    def __init__(self) -> None:
        self._reporters: dict[str, _Reporter] = {}
        self._spoken_of: dict[str, set[str]] = {}

    def enter(self, report: DemandReport, now: float) -> None:
        """Take a report in; it replaces this reporter's words on the functions that it names."""
        reporter = self._reporters.setdefault(report.reporter, _Reporter(now))
        reporter.heard_at = now
        for key, demand in report.functions.items():
            word = reporter.words.get(key)
            rate = ArrivalRate(demand.arrivals, now) if word is None else word.rate
            rate.advance(demand.arrivals, now)
            reporter.words[key] = _Word(demand, now, rate)
            self._spoken_of.setdefault(key, set()).add(report.reporter)

    def forget_silent(self, now: float) -> list[str]:
        """Drop reporters that have been silent for too long; returns the functions they spoke of."""
        silent = [name for name, r in self._reporters.items() if now - r.heard_at > FORGOTTEN_AFTER_SECONDS]
        changed = [key for name in silent for key in self._reporters[name].words]
        for name in silent:
            del self._reporters[name]
        for key in changed:
            self._spoken_of.get(key, set()).difference_update(silent)
        return changed

    def forget_function(self, key: str) -> None:
        """Drop all words on a function that is no more."""
        for name in self._spoken_of.pop(key, set()):
            self._reporters[name].words.pop(key, None)

    def demand(self, key: str, now: float) -> Demand:
        """The sum of all words on one function."""
        reporters = self._speakers(key)
        words = [r.words[key].demand for r in reporters]
        rates = [r.words[key].rate for r in reporters]
        if not words:
            return Demand()
        backlogs = [word.backlog for word in words]
        return Demand(
            queued=sum(word.queued for word in words),
            in_flight=sum(word.in_flight for word in words),
            backlog=None if None in backlogs else max(b for b in backlogs if b is not None),
            service_seconds=_mean_seconds([(word.service_ms, word.in_flight) for word in words]),
            arrivals_per_second=sum(rate.per_second(now) for rate in rates),
            init_seconds=_mean_seconds([(word.init_ms, word.in_flight) for word in words]),
            certain=all(now - r.heard_at <= UNKNOWN_AFTER_SECONDS for r in reporters),
        )

    def idle_seconds(self, key: str, instance: str, ready_at: float, now: float) -> float:
        """How long no reporter has used an instance; 0 while one does."""
        idle = now - ready_at
        for reporter in self._speakers(key):
            word = reporter.words[key]
            use = word.demand.instances.get(instance)
            if use is not None and use.busy:
                return 0.0
            if use is not None:
                idle = min(idle, use.idle_seconds + now - word.at)
        return idle

    def uses(self, key: str, instance: str) -> int:
        """How often the reporters have taken a free slot of an instance."""
        found = (reporter.words[key].demand.instances.get(instance) for reporter in self._speakers(key))
        return sum(use.uses for use in found if use is not None)

    @property
    def functions(self) -> Iterable[str]:
        """Functions that anybody has spoken of."""
        return self._spoken_of.keys()

    def _speakers(self, key: str) -> list[_Reporter]:
        return [self._reporters[name] for name in self._spoken_of.get(key, ())]


def _mean_seconds(measured: list[tuple[float | None, int]]) -> float | None:
    """The mean of the reporters' milliseconds, weighted by what each has in flight (at least one)."""
    known = [(ms / 1000, max(in_flight, 1)) for ms, in_flight in measured if ms is not None]
    if not known:
        return None
    return sum(seconds * weight for seconds, weight in known) / sum(weight for _, weight in known)
