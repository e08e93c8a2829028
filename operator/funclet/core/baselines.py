"""What Funclet's policies are compared with in simulations. Nothing else uses them."""

from math import ceil, floor

from funclet.core.demand import Demand
from funclet.core.keep_alive import KeepAlive
from funclet.core.scaling import Policy, ScaleDecision

HPA_PERIOD_SECONDS = 15.0
"""Between two steps of Kubernetes' HorizontalPodAutoscaler by default (--horizontal-pod-autoscaler-sync-period)."""


def instance_per_call(policy: Policy, demand: Demand, current: int, predicted: int = 0) -> ScaleDecision:
    """A slot for each call that runs or waits, however short it is."""
    wanted = ceil((demand.in_flight + demand.queued) / policy.concurrency)
    return ScaleDecision(min(max(wanted, policy.floor), policy.ceiling), "Calls")


def ladder(policy: Policy, demand: Demand, current: int, predicted: int = 0) -> ScaleDecision:
    """As an autoscaler climbs: towards a slot for each call, in one step by four instances or to twice as many at most.

    Those are the defaults of autoscaling/v2 (behavior.scaleUp: 100 percent or 4 pods in 15 s, whichever is more).
    """
    wanted = instance_per_call(policy, demand, current).desired
    return ScaleDecision(min(wanted, max(2 * current, current + 4)) if current else min(wanted, 1), "Ladder")


class PercentileKeepAlive:
    """The histogram policy of Shahrad et al., "Serverless in the Wild" (ATC 2020, section 4.2), without its ARIMA part.

    Idle times in bins of a minute over four hours. An instance goes at once and is there again from the 5th percentile,
    less a tenth, to the 99th, plus a tenth. Where the bins' counts vary too little to tell anything (coefficient of
    variation below 2), or most idle times are longer than the range, it is kept for the whole range.
    """

    BINS = 240
    BIN_SECONDS = 60.0
    HEAD, TAIL, MARGIN, REPRESENTATIVE = 0.05, 0.99, 0.10, 2.0

    def __init__(self) -> None:
        self._bins = [0] * self.BINS
        self._count = self._squares = self._outside = 0
        self._departed: float | None = None
        self._plan = KeepAlive(self.BINS * self.BIN_SECONDS)

    def plan(self, level: int) -> KeepAlive:
        """The same for each level."""
        return self._plan

    def used_again(self, gap_seconds: float, level: int) -> None:
        """One more idle time."""
        position = int(gap_seconds / self.BIN_SECONDS)
        if position >= self.BINS:
            self._outside += 1
        else:
            self._squares += 2 * self._bins[position] + 1
            self._bins[position] += 1
            self._count += 1
        self._plan = self._make_plan()

    def departed(self, idle_since: float) -> None:
        """The application is unloaded."""
        self._departed = idle_since

    def first_used(self, now: float, level: int) -> None:
        """Its idle time ends."""
        if self._departed is not None:
            self.used_again(now - self._departed, level)
            self._departed = None

    def predicted_count(self, now: float, lead_seconds: float, present: int) -> int:
        """One, from the pre-warming window's end to the keep-alive window's."""
        due = self._due(lead_seconds)
        return int(due is not None and due <= now <= due + lead_seconds + self._window_seconds())

    def next_due(self, now: float, lead_seconds: float, present: int) -> float | None:
        """The end of the pre-warming window."""
        due = self._due(lead_seconds)
        return due if due is not None and due > now else None

    def _due(self, lead_seconds: float) -> float | None:
        if self._plan.predicted is None or self._departed is None:
            return None
        return self._departed + self._plan.predicted[0] - lead_seconds

    def _window_seconds(self) -> float:
        assert self._plan.predicted is not None
        return self._plan.predicted[1] - self._plan.predicted[0]

    def _make_plan(self) -> KeepAlive:
        mean = self._count / self.BINS
        deviation = max(0.0, self._squares / self.BINS - mean * mean) ** 0.5
        if self._outside > self._count or mean == 0 or deviation / mean < self.REPRESENTATIVE:
            return KeepAlive(self.BINS * self.BIN_SECONDS)
        head = floor(self._percentile(self.HEAD)) * self.BIN_SECONDS * (1 - self.MARGIN)
        tail = (self._percentile(self.TAIL) + 1) * self.BIN_SECONDS * (1 + self.MARGIN)
        return KeepAlive(tail) if head == 0 else KeepAlive(0.001, (head, tail))

    def _percentile(self, share: float) -> int:
        """The first bin up to which this share of the idle times lies."""
        rest = share * self._count
        for position, count in enumerate(self._bins):
            rest -= count
            if rest <= 0:
                return position
        return self.BINS - 1
