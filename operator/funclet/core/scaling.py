"""How many instances a function needs: one step, from demand alone.

| reading                               | decision                                                                    |
|---------------------------------------|-----------------------------------------------------------------------------|
| nothing waits                         | a slot for each invocation that runs                                        |
| callers wait, service time unknown    | a slot for each                                                             |
| a backlog, service time unknown       | `FIRST_BATCHES`, or more if that is too little for batches of               |
|                                       | `FIRST_GUESS_SECONDS`: the first that ends tells what the others take       |
| something waits, service time known   | Little's law for what keeps arriving, and what ends the queue within the    |
|                                       | time of one start (a new instance would not help sooner) and the backlog of |
|                                       | event sources within `BACKLOG_TARGET_SECONDS`; never more than one each     |
| instances are predicted to be needed  | so many beside those that are busy                                          |
| a source or a reporter is unreadable  | never fewer than there are now                                              |
| always                                | at least what is provisioned, at most maxInstances and what is reserved     |

A start takes what it takes from the warm pool and as long as this function's init phase was measured to take: a hundred
calls of 0.1 s wait for a busy instance rather than for a hundred new ones that import for ten seconds each.
"""

from dataclasses import dataclass
from math import ceil

from funclet.core.demand import Demand
from funclet.core.keep_alive import IdleHistory
from funclet.core.messages import InitializationType
from funclet.core.revision import Revision

BACKLOG_TARGET_SECONDS = 10.0
FIRST_BATCHES = 5
"""As Lambda begins with a queue (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html).
A backlog of thousands must not start a
hundred instances that a moment later turn out to be too many: their start takes the CPU that the first ones need."""
FIRST_GUESS_SECONDS = 0.1
"""For one batch, while none has ended: a thousand batches begin with ten slots."""
COLD_START_SECONDS = 0.1
"""What a cold start from the warm pool may take, without the function's init phase."""


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


def initialization_type(policy: Policy, others: int) -> InitializationType:
    """What an instance is told that starts beside so many others of its revision: whether it is kept ready whatever the
    demand.
    """
    return "provisioned-concurrency" if others < policy.floor else "on-demand"


def decide(policy: Policy, demand: Demand, current: int, predicted: int = 0) -> ScaleDecision:
    """How many instances there should be, `current` of them being there or on their way.

    `predicted` is how many that nobody uses now are likely to be needed in a moment; who waits takes those first.
    """
    wanted = ceil(_wanted_slots(policy, demand) / policy.concurrency)
    reason = "Demand" if wanted else "NoDemand"
    foreseen = ceil(demand.in_flight / policy.concurrency) + predicted
    if foreseen > wanted:
        wanted, reason = foreseen, "Predicted"
    if demand.backlog is None or not demand.certain:
        wanted, reason = max(wanted, current), "DemandUnknown"
    if wanted < policy.floor:
        return ScaleDecision(policy.floor, "Provisioned")
    if wanted > policy.ceiling:
        return ScaleDecision(policy.ceiling, "Limited")
    return ScaleDecision(wanted, reason)


def plan_scale_in(
    policy: Policy, decision: ScaleDecision, current: int, idle: list[Idle], keep_alive: IdleHistory
) -> list[str]:
    """Which instances to drain: those idle for long enough, the longest idle first, never below what is desired.

    The one that was used last is used first, so it is kept as the one of the level after those that are busy.
    """
    surplus = max(0, current - max(decision.desired, policy.floor))
    unused = sorted((one for one in idle if one.seconds > 0), key=lambda one: (one.seconds, one.name))
    levels = enumerate(unused, len(idle) - len(unused) + 1)
    overdue = [one.name for level, one in levels if one.seconds >= keep_alive.plan(level).keep_seconds]
    return overdue[: -surplus - 1 : -1]


def _wanted_slots(policy: Policy, demand: Demand) -> int:
    """Slots for all that runs and waits. Those that run something are never given up.

    A hundred waiting calls of 2 ms are 0.2 s of work: 2 slots for a start of 0.1 s. Ten of 1 s would be 100 slots: no
    call can use more than one, so it is 10. If 30 calls of 0.1 s arrive each second, 3 slots are busy with those.
    """
    backlog = demand.backlog or 0
    total = demand.in_flight + demand.queued + backlog
    if total == demand.in_flight:
        return total
    if demand.service_seconds is None:
        guess = max(FIRST_BATCHES, ceil((demand.in_flight + backlog) * FIRST_GUESS_SECONDS / BACKLOG_TARGET_SECONDS))
        return max(demand.in_flight + demand.queued, min(total, guess))
    steady = demand.arrivals_per_second * demand.service_seconds
    start_seconds = policy.cold_start_seconds + (demand.init_seconds or 0.0)
    queue = demand.queued * demand.service_seconds / start_seconds
    drain = backlog * demand.service_seconds / BACKLOG_TARGET_SECONDS
    return min(total, max(1, ceil(steady + queue + drain), demand.in_flight))
