"""How many instances a function needs: one step, from demand alone.

| reading                                  | decision                                                              |
|------------------------------------------|-----------------------------------------------------------------------|
| something waits or runs, time unknown    | a slot for each                                                       |
| something waits or runs, time known      | the slots that do it all within one cold start: more would come too late |
| a backlog in event sources, time known   | the slots that drain it within `BACKLOG_TARGET_SECONDS`               |
| a backlog, time unknown                  | a slot for each batch                                                 |
| a source or a reporter is unreadable     | never fewer than there are now                                        |
| always                                   | at least what is provisioned, at most maxInstances and what is reserved |

Slots that run something are never given up: the answer has at least one slot for each invocation in flight.
"""

from dataclasses import dataclass
from math import ceil

from funclet.core.demand import Demand
from funclet.core.revision import Revision

BACKLOG_TARGET_SECONDS = 10.0
COLD_START_SECONDS = 0.1
"""What a cold start from the warm pool may take (issue: 100 ms at the median)."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the function's author allows and wants."""

    concurrency: int = 1
    max_instances: int = 100
    reserved: int | None = None
    provisioned: int = 0
    idle_timeout_seconds: float = 60
    cold_start_seconds: float = COLD_START_SECONDS

    @property
    def ceiling(self) -> int:
        """The most instances: 5 reserved at 2 an instance are 3 instances."""
        if self.reserved is None:
            return self.max_instances
        return min(self.max_instances, ceil(self.reserved / self.concurrency))

    @property
    def floor(self) -> int:
        """Instances kept ready whatever the demand."""
        return min(self.ceiling, ceil(self.provisioned / self.concurrency))


@dataclass(frozen=True, slots=True)
class ScaleDecision:
    """How many instances there should be, and the rule that decided."""

    desired: int
    reason: str


@dataclass(frozen=True, slots=True)
class Idle:
    """One ready instance and how long nobody has used it; 0 while somebody does."""

    name: str
    seconds: float


def policy_of(revision: Revision) -> Policy:
    """The policy in a function's spec."""
    return Policy(
        concurrency=revision.concurrency_per_instance,
        max_instances=revision.max_instances,
        reserved=revision.reserved_concurrency,
        provisioned=revision.provisioned_concurrency,
        idle_timeout_seconds=revision.idle_timeout_seconds,
    )


def decide(policy: Policy, demand: Demand, current: int) -> ScaleDecision:
    """How many instances there should be, `current` of them being there or on their way."""
    wanted = ceil(_wanted_slots(policy, demand) / policy.concurrency)
    reason = "Demand" if wanted else "NoDemand"
    if demand.backlog is None or not demand.certain:
        wanted, reason = max(wanted, current), "DemandUnknown"
    if wanted < policy.floor:
        return ScaleDecision(policy.floor, "Provisioned")
    if wanted > policy.ceiling:
        return ScaleDecision(policy.ceiling, "Limited")
    return ScaleDecision(wanted, reason)


def plan_scale_in(policy: Policy, decision: ScaleDecision, current: int, idle: list[Idle]) -> list[str]:
    """Which instances to drain: those idle for long enough, the longest idle first, never below what is desired."""
    surplus = max(0, current - max(decision.desired, policy.floor))
    overdue = [one for one in idle if one.seconds > 0 and one.seconds >= policy.idle_timeout_seconds]
    overdue.sort(key=lambda one: (-one.seconds, one.name))
    return [one.name for one in overdue[:surplus]]


def _wanted_slots(policy: Policy, demand: Demand) -> int:
    waiting = _slots_within(policy.cold_start_seconds, demand.queued, demand)
    backlog = _slots_within(BACKLOG_TARGET_SECONDS, demand.backlog or 0, demand)
    return max(waiting, backlog)


def _slots_within(target_seconds: float, waiting: int, demand: Demand) -> int:
    """Slots that end what runs and what waits within the target.

    A hundred waiting calls of 2 ms are 0.2 s of work: 2 slots for a target of 0.1 s. Ten of 1 s are 10 s of work,
    which would be 100 slots: no call can use more than one, so it is 10.
    """
    total = demand.in_flight + waiting
    if demand.service_seconds is None or total == 0:
        return total
    enough = max(1, ceil(total * demand.service_seconds / target_seconds))
    return min(total, max(enough, demand.in_flight))
