"""What a policy would have done with a trace of calls: the scaler's own decisions, without a cluster.

Each function is simulated alone, event by event: arrivals, ends, instances that become ready, looks at what is idle.
All decisions are those of `core.scaling` and `core.keep_alive`; what is modelled here is the gateway (first come, first
served, the most recently used slot first) and that a start takes a fixed time.

Not modelled: a warm pool that runs empty, bounded queues, instances that fail, and the up to 100 ms by which the scaler
learns late that something has ended while nothing waits.
"""

from array import array
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import Any

from funclet.core.arrival_rate import ArrivalRate
from funclet.core.demand import Demand
from funclet.core.function_pool import is_pressing, moving_average
from funclet.core.keep_alive import IdleHistory
from funclet.core.scaling import COLD_START_SECONDS, Idle, Policy, ScaleDecision, plan_scale_in

REPORT_SECONDS = 0.005
"""A gateway reports as often while a queue is pressing (gateway.demand.URGENT_GAP_SECONDS)."""
CHANGE_SECONDS = 0.1
"""And as often while anything else changes (gateway.demand.CHANGE_GAP_SECONDS)."""

Decide = Callable[[Policy, Demand, int, int], ScaleDecision]
"""`scaling.decide`, or what it is compared with."""


@dataclass(frozen=True, slots=True)
class Calls:
    """All calls of one function: when each arrives, in ascending order, and how long it runs, in seconds."""

    arrivals: "array[float]"
    durations: "array[float]"


Trace = Mapping[str, Calls]
"""By the function's name. Each function has at least one call."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """What is simulated."""

    decide: Decide
    keep_alive: Callable[[], IdleHistory]
    policy: Policy
    start_seconds: float = COLD_START_SECONDS
    """From the decision to an instance that serves, the init phase included."""
    report_seconds: float = REPORT_SECONDS
    """Between two decisions while a queue is pressing."""


@dataclass(slots=True)
class Outcome:
    """What came of it. Waits of 0 are not in `waits`."""

    calls: int = 0
    cold_starts: int = 0
    """Calls that waited for a start."""
    starts: int = 0
    predicted_starts: int = 0
    """Starts that nobody waited for."""
    busy_seconds: float = 0.0
    """Of instances that ran at least one call."""
    held_seconds: float = 0.0
    """Of instances that were starting or idle."""
    waits: "array[float]" = field(default_factory=lambda: array("d"))
    cold_shares: "array[float]" = field(default_factory=lambda: array("d"))
    """Of each function: cold starts by calls."""
    starts_at: "array[float]" = field(default_factory=lambda: array("d"))
    ends_at: "array[float]" = field(default_factory=lambda: array("d"))


def simulate(trace: Trace, strategy: Strategy) -> Outcome:
    """All functions of a trace, from no instance at all to the end of the last call of any of them."""
    outcome = Outcome()
    until = max((calls.arrivals[-1] for calls in trace.values()), default=0.0)
    for calls in trace.values():
        cold_before = outcome.cold_starts
        _Run(calls, strategy, outcome).run(until)
        outcome.cold_shares.append((outcome.cold_starts - cold_before) / len(calls.arrivals))
    return outcome


class _Instance:
    __slots__ = ("busy", "busy_since", "idle_since", "name", "ready", "started_at", "used")

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.started_at = now
        self.busy = 0
        self.busy_since = self.idle_since = now
        self.ready = self.used = False


class _Run:
    """One function. Events are (time, number, what to do, its argument)."""

    def __init__(self, calls: Calls, strategy: Strategy, outcome: Outcome) -> None:
        self._arrivals, self._durations = calls.arrivals, calls.durations
        self._strategy = strategy
        self._outcome = outcome
        self._keep = strategy.keep_alive()
        self._events: list[tuple[float, int, Callable[[float, Any], None], Any]] = []
        self._number = 0
        self._arrived = 0
        self._waiting: deque[int] = deque()
        self._in_flight = 0
        self._busy = 0
        self._free: list[_Instance] = []
        self._instances: dict[str, _Instance] = {}
        self._service_seconds: float | None = None
        self._init_seconds: float | None = None
        self._rate: ArrivalRate | None = None
        self._decided_at = -inf
        self._decision_due = inf
        self._look_due = inf
        self._prediction_due = inf

    def run(self, until: float) -> None:
        """To the end of the last call, and of the trace."""
        arrivals, events, count = self._arrivals, self._events, len(self._arrivals)
        while self._arrived < count or self._waiting or self._in_flight or (events and events[0][0] <= until):
            next_arrival = arrivals[self._arrived] if self._arrived < count else inf
            if events and events[0][0] <= next_arrival:
                now, _, action, argument = heappop(events)
                action(now, argument)
            else:
                self._arrive(next_arrival)
        end = max([until, *(one.idle_since for one in self._instances.values())])
        for instance in list(self._instances.values()):
            self._remove(instance, end)
        self._outcome.calls += count

    def _at(self, when: float, action: Callable[[float, Any], None], argument: Any = None) -> None:
        self._number += 1
        heappush(self._events, (when, self._number, action, argument))

    def _arrive(self, now: float) -> None:
        call = self._arrived
        self._arrived += 1
        if self._free:
            self._take(self._free.pop(), call, now)
        else:
            self._waiting.append(call)
            service_ms = None if self._service_seconds is None else 1000 * self._service_seconds
            self._decide_soon(now, pressing=is_pressing(len(self._waiting), self._in_flight, service_ms))

    def _take(self, instance: _Instance, call: int, now: float) -> None:
        if not instance.busy:
            self._busy += 1
            instance.busy_since = now
            if instance.used:
                self._keep.used_again(now - instance.idle_since, self._busy)
            else:
                self._keep.first_used(now, self._busy)
                instance.used = True
        instance.busy += 1
        self._in_flight += 1
        self._serve(instance, call, now)

    def _serve(self, instance: _Instance, call: int, now: float) -> None:
        if (wait := now - self._arrivals[call]) > 0:
            self._outcome.waits.append(wait)
        self._at(now + self._durations[call], self._end, (instance, call))

    def _end(self, now: float, ended: tuple[_Instance, int]) -> None:
        instance, call = ended
        self._service_seconds = moving_average(self._service_seconds, self._durations[call])
        if self._waiting:
            self._serve(instance, self._waiting.popleft(), now)
            self._decide_soon(now, pressing=False)
            return
        self._in_flight -= 1
        instance.busy -= 1
        self._free.append(instance)
        if not instance.busy:
            self._busy -= 1
            instance.idle_since = now
            self._outcome.busy_seconds += now - instance.busy_since
            self._outcome.held_seconds -= now - instance.busy_since
            self._look_by(now + self._keep.plan(self._busy + 1).keep_seconds)

    # --- growing ---

    def _decide_soon(self, now: float, *, pressing: bool) -> None:
        """At once, but not more often than the gateway reports."""
        gap = self._strategy.report_seconds
        due = max(now, self._decided_at + (gap if pressing else max(gap, CHANGE_SECONDS)))
        if due < self._decision_due:
            self._decision_due = due
            if due <= now:
                self._decide(now)
            else:
                self._at(due, self._decide_when_due)

    def _decide_when_due(self, now: float, _nothing: None) -> None:
        if now >= self._decision_due:
            self._decide(now)

    def _decide(self, now: float) -> None:
        self._decision_due = inf
        self._decided_at = now
        decision = self._strategy.decide(
            self._strategy.policy, self._demand(now), len(self._instances), self._predicted(now)
        )
        for _ in range(decision.desired - len(self._instances)):
            self._start(now)

    def _predicted(self, now: float) -> int:
        """Instances that are idle or new take the place of those that are gone: a new one has not been used yet."""
        used = sum(one.used for one in self._instances.values())
        return self._keep.predicted_count(now, self._strategy.start_seconds, used)

    def _demand(self, now: float) -> Demand:
        if self._rate is None:
            self._rate = ArrivalRate(self._arrived, now)
        self._rate.advance(self._arrived, now)
        return Demand(
            queued=len(self._waiting),
            in_flight=self._in_flight,
            service_seconds=self._service_seconds,
            arrivals_per_second=self._rate.per_second(now),
            init_seconds=self._init_seconds,
        )

    def _start(self, now: float) -> None:
        self._outcome.starts += 1
        if not self._waiting:
            self._outcome.predicted_starts += 1
        instance = _Instance(str(self._outcome.starts), now)
        self._instances[instance.name] = instance
        self._outcome.starts_at.append(now)
        self._at(now + self._strategy.start_seconds, self._ready, instance)

    def _ready(self, now: float, instance: _Instance) -> None:
        instance.ready = True
        instance.idle_since = now
        self._init_seconds = max(0.0, self._strategy.start_seconds - COLD_START_SECONDS)
        for _ in range(self._strategy.policy.concurrency):
            if self._waiting:
                self._outcome.cold_starts += 1
                self._take(instance, self._waiting.popleft(), now)
            else:
                self._free.append(instance)
        if not instance.busy:
            self._look_by(now + self._keep.plan(self._busy + 1).keep_seconds)

    # --- shrinking ---

    def _look_by(self, due: float) -> None:
        """One look at a time is planned: the first that may find something."""
        if due < self._look_due:
            self._look_due = due
            self._at(due, self._look)

    def _look(self, now: float, _: None) -> None:
        if now < self._look_due:
            return
        self._look_due = inf
        policy, current = self._strategy.policy, len(self._instances)
        decision = self._strategy.decide(policy, self._demand(now), current, self._predicted(now))
        idle = [
            Idle(one.name, 0.0 if one.busy else now - one.idle_since) for one in self._instances.values() if one.ready
        ]
        for name in plan_scale_in(policy, decision, current, idle, self._keep):
            self._remove(self._instances[name], now)
        self._look_again(now)

    def _look_again(self, now: float) -> None:
        """An instance that was overdue and had to stay is looked at each second."""
        idle = sorted((one.idle_since for one in self._instances.values() if one.ready and not one.busy), reverse=True)
        due = [since + self._keep.plan(level).keep_seconds for level, since in enumerate(idle, self._busy + 1)]
        if due:
            self._look_by(max(min(due), now + 1.0))

    def _remove(self, instance: _Instance, now: float) -> None:
        del self._instances[instance.name]
        self._free = [one for one in self._free if one is not instance]
        self._outcome.held_seconds += now - instance.started_at
        self._outcome.ends_at.append(now)
        if instance.used:
            self._keep.departed(instance.idle_since)
        self._foresee(now)

    def _predict(self, now: float, _: None) -> None:
        self._prediction_due = inf
        self._decide(now)
        self._foresee(now)

    def _foresee(self, now: float) -> None:
        """Decide again when an instance is expected to be needed."""
        used = sum(one.used for one in self._instances.values())
        due = self._keep.next_due(now, self._strategy.start_seconds, used)
        if due is not None and due < self._prediction_due:
            self._prediction_due = due
            self._at(due, self._predict)
