"""Gather, decide, apply: brings the fleet to what each function needs, whenever something has changed.

Everything here is synchronous and in memory. From a demand report to the push of the code no other role and no API is
asked anything.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from funclet.adapters.instances.backend import Observed, Phase
from funclet.core.backoff import Backoff
from funclet.core.demand import UNKNOWN_AFTER_SECONDS, Demand, DemandBook
from funclet.core.instances import SERVING_SOON, Instance, State
from funclet.core.messages import DemandReport, Refused
from funclet.core.pool import find_claimable, may_use_pool
from funclet.core.retries import Retries
from funclet.core.revision import Revision
from funclet.core.scaling import Idle, Policy, ScaleDecision, decide, plan_scale_in, policy_of
from funclet.errors import FuncletError, InvalidSpec
from funclet.scaler.fleet import Fleet
from funclet.scaler.gauges import Gauges
from funclet.scaler.pools import Pools

log = logging.getLogger(__name__)

RETRY = Backoff(base_seconds=0.1, cap_seconds=5.0)
REFUSE_AFTER_FAILURES = 5
"""By then a caller has waited three seconds (0.1 + 0.2 + 0.4 + 0.8 + 1.6): it is told what is wrong. Trying goes on."""
REFUSAL_SECONDS = 30.0
"""For how long a package that an agent refused is not tried again."""
NO_ROOM_SECONDS = 60.0
"""For how long a function gets instances of its own size after a node had no room to resize a generic one."""

Push = Callable[[Instance, Revision], None]


class Reconciler:
    """Knows all functions, all demand and all instances. `push` specialises an instance and reports back here."""

    def __init__(self, functions: dict[str, Revision], fleet: Fleet, pools: Pools, clock: Callable[[], float]) -> None:
        self.book = DemandBook()
        self._functions = functions
        self._fleet = fleet
        self._pools = pools
        self._clock = clock
        self._gauges = Gauges()
        self._retries = Retries(RETRY)
        self._refused: dict[str, tuple[Refused, float]] = {}
        self._no_room_until: dict[str, float] = {}
        self._wanting: set[str] = set()
        self._push: Push | None = None
        self._certain_from = 0.0

    def begin(self, push: Push) -> None:
        """All that was there is known: act from now on, but lower nothing before the gateways can have spoken."""
        self._push = push
        if self._fleet.register.functions:
            self._certain_from = self._clock() + UNKNOWN_AFTER_SECONDS
        for instance in list(self._fleet.register.by_name.values()):
            self._recognise(instance)
        for key in self._functions:
            self.reconcile(key)
        self._pools.refill_all()

    @property
    def is_busy(self) -> bool:
        """Whether time alone can change something: otherwise nothing has to be looked at."""
        return bool(self._fleet.register.functions or self._wanting or self._pools.are_waiting)

    def tick(self) -> None:
        """Do what has become due."""
        self._wanting.update(self.book.forget_silent(self._clock()))
        for key in {*self._fleet.register.functions, *self._wanting}:
            self.reconcile(key)
        self._pools.retry()

    def take_report(self, report: DemandReport) -> None:
        """A gateway or the events role has spoken."""
        self.book.enter(report, self._clock())
        for key in report.functions:
            self.reconcile(key)
        for name in report.drained:
            self._fleet.note_drained(name, report.reporter)

    def function_changed(self, key: str, revision: Revision | None) -> None:
        """The catalog has a new word on a function."""
        self._refused.pop(key, None)
        self._retries.succeed(key)
        self._pools.follow(key, revision)
        self.reconcile(key)
        if revision is None:
            self._forget_function(key)

    def reconcile(self, key: str) -> None:
        """Bring one function to what it needs."""
        if self._push is None:
            return
        revision = self._functions.get(key)
        self._retire_others(key, revision)
        if revision is None:
            # Words on it are kept: a gateway may have seen the function first.
            self._gauges.show_function(key, self._fleet.register.of_function(key))
            return
        demand, policy = self._demand(key), policy_of(revision)
        current = self._capacity(revision)
        decision = decide(policy, demand, len(current))
        if decision.desired > len(current):
            self._grow(revision, decision.desired - len(current), demand)
        else:
            self._shrink(revision, policy, decision, current)
        self._note(key, waiting=decision.desired > len(current) or not demand.is_zero)

    def found(self, instance: Instance) -> None:
        """An instance from before, now known for what it is."""
        self._fleet.take_up(instance)
        if self._push is not None:
            self._recognise(instance)

    def observe(self, observed: Observed) -> None:
        """An instance that is known has changed."""
        instance = self._fleet.register.by_name[observed.name]
        match observed.phase:
            case Phase.DEAD:
                self._lost(instance)
                self._fleet.remove(instance, "Died")
            case Phase.TERMINATING:
                self._fleet.evicted(instance)
            case Phase.PENDING | Phase.RUNNING:
                self._addressed(instance, observed)
        self._after_loss(instance)

    def vanished(self, name: str) -> None:
        """An instance is no more."""
        instance = self._fleet.register.by_name.get(name)
        if instance is not None:
            self._lost(instance)
        self._fleet.vanished(name)
        if instance is not None:
            self._after_loss(instance)

    def accepted(self, instance: Instance, revision: Revision, slots: tuple[int, ...]) -> None:
        """The agent has taken the code."""
        if instance.state is not State.SPECIALISING:
            return
        self._retries.succeed(revision.key)
        if self._functions.get(revision.key) is None or self._functions[revision.key].revision != revision.revision:
            self._fleet.remove(instance, "Superseded")
        else:
            self._fleet.ready(instance, slots, revision)
        self.reconcile(revision.key)

    def refused(self, instance: Instance, revision: Revision, error: InvalidSpec) -> None:
        """No instance can be made of this revision: those who wait are told."""
        self._fleet.remove(instance, "Refused")
        self._refuse(revision, error.reason, error.message, REFUSAL_SECONDS)
        self.reconcile(revision.key)

    def failed(self, instance: Instance, revision: Revision, message: str) -> None:
        """This instance is of no use; another is tried after a while."""
        self._count_failure(revision, "InstanceFailed", message)
        self._fleet.remove(instance, "Failed")
        self.reconcile(revision.key)

    def ingredients_missing(self, instance: Instance, revision: Revision, error: FuncletError) -> float:
        """Code or Secrets cannot be had now: the instance waits for them."""
        self._count_failure(revision, error.reason, error.message)
        return self._retries.wait_seconds(revision.key, self._clock())

    def _recognise(self, instance: Instance) -> None:
        if instance.function is None:
            return
        revision = self._functions.get(instance.function)
        if revision is not None and revision.revision == instance.revision:
            self._fleet.recognise(instance, revision)
            self._specialise(instance)
        self.reconcile(instance.function)

    def _demand(self, key: str) -> Demand:
        now = self._clock()
        demand = self.book.demand(key, now)
        return replace(demand, certain=False) if now < self._certain_from else demand

    def _capacity(self, revision: Revision) -> list[Instance]:
        mine = self._fleet.register.of_function(revision.key)
        return [one for one in mine if one.state in SERVING_SOON and one.revision == revision.revision]

    def _retire_others(self, key: str, revision: Revision | None) -> None:
        for instance in self._fleet.register.of_function(key):
            self._fleet.settle_drain(instance)
            if revision is None:
                self._fleet.retire(instance, "FunctionDeleted")
            elif instance.revision != revision.revision:
                self._fleet.retire(instance, "Superseded")

    def _grow(self, revision: Revision, missing: int, demand: Demand) -> None:
        now = self._clock()
        refusal, until = self._refused.get(revision.key, (None, 0.0))
        if refusal is not None and now < until:
            if demand.queued:
                self._fleet.feed.send(refusal)
            return
        if self._retries.wait_seconds(revision.key, now) > 0:
            return
        for _ in range(missing):
            self._add(revision)

    def _add(self, revision: Revision) -> None:
        instance = self._claimable(revision)
        if instance is None:
            self._fleet.start_for(revision, self._not_created)
            return
        self._fleet.claim(instance, revision)
        self._specialise(instance)
        self._pools.refill_soon((revision.namespace, revision.runtime))

    def _claimable(self, revision: Revision) -> Instance | None:
        if not may_use_pool(revision) or self._clock() < self._no_room_until.get(revision.key, 0.0):
            return None
        return find_claimable(self._fleet.register.of_pool((revision.namespace, revision.runtime)))

    def _specialise(self, instance: Instance) -> None:
        revision = self._functions.get(instance.function or "")
        if self._push is None or revision is None or revision.revision != instance.revision:
            return
        if instance.state is State.GENERIC:
            self._push(instance, revision)

    def _shrink(self, revision: Revision, policy: Policy, decision: ScaleDecision, current: list[Instance]) -> None:
        now = self._clock()
        # One that is still starting when nobody needs it any more has been of no use since it was asked for.
        idle = [
            Idle(one.name, self.book.idle_seconds(revision.key, one.name, one.since, now))
            for one in current
            if one.state is not State.SPECIALISING
        ]
        for name in plan_scale_in(policy, decision, len(current), idle):
            self._fleet.retire(self._fleet.register.by_name[name], "Idle")

    def _addressed(self, instance: Instance, observed: Observed) -> None:
        if observed.resize_refused and instance.state is State.READY and instance.function is not None:
            self._no_room_until[instance.function] = self._clock() + NO_ROOM_SECONDS
            self._fleet.drain(instance, "NoRoomToResize")
        instance.running = observed.phase is Phase.RUNNING
        if instance.state is State.STARTING and observed.host is not None and observed.agent_port is not None:
            self._fleet.addressed(instance, observed.host, observed.agent_port)
            self._specialise(instance)

    def _lost(self, instance: Instance) -> None:
        """An instance that ended before it served counts as a failure: its successor waits a little."""
        if instance.state in (State.READY, State.DRAINING):
            return
        if instance.function is None:
            self._pools.note_failure((instance.namespace, instance.runtime))
        elif revision := self._functions.get(instance.function):
            self._count_failure(revision, "InstanceDied", f"instance {instance.name} ended before it served")

    def _after_loss(self, instance: Instance) -> None:
        if instance.function is None:
            self._pools.refill((instance.namespace, instance.runtime))
        else:
            self.reconcile(instance.function)

    def _not_created(self, instance: Instance) -> None:
        if revision := self._functions.get(instance.function or ""):
            self._count_failure(revision, "InstanceNotCreated", f"instance {instance.name} could not be created")
            self._wanting.add(revision.key)

    def _count_failure(self, revision: Revision, reason: str, message: str) -> None:
        fields = {"function": revision.key, "revision": revision.revision, "reason": reason, "detail": message}
        log.warning("specialisation failed", extra=fields)
        if self._retries.fail(revision.key, self._clock()) >= REFUSE_AFTER_FAILURES:
            self._refuse(revision, reason, message, seconds=0.0)

    def _refuse(self, revision: Revision, reason: str, message: str, seconds: float) -> None:
        refusal = Refused(function=revision.key, revision=revision.revision, reason=reason, message=message)
        self._refused[revision.key] = (refusal, self._clock() + seconds)
        self._fleet.feed.send(refusal)
        log.warning("function refused", extra={"function": revision.key, "reason": reason, "detail": message})

    def _note(self, key: str, *, waiting: bool) -> None:
        (self._wanting.add if waiting else self._wanting.discard)(key)
        self._gauges.show_function(key, self._fleet.register.of_function(key))

    def _forget_function(self, key: str) -> None:
        self.book.forget_function(key)
        self._no_room_until.pop(key, None)
        self._wanting.discard(key)
        self._gauges.forget_function(key)
