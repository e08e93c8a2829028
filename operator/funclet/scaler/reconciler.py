"""Gather, decide, apply: brings the fleet to what each function needs, whenever something has changed.

Everything here is synchronous and in memory. From a demand report to the push of the code no other role and no API is
asked anything.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from funclet.adapters.instances.backend import NAMESPACE_TERMINATING
from funclet.core.demand import UNKNOWN_AFTER_SECONDS, Demand, DemandBook
from funclet.core.instances import SERVING_SOON, Instance, State, find_stuck
from funclet.core.messages import DemandReport
from funclet.core.pace import Pace
from funclet.core.pool import pool_of
from funclet.core.revision import Revision
from funclet.core.scaling import Policy, decide, plan_scale_in, policy_of
from funclet.errors import FuncletError, InvalidSpec
from funclet.scaler.claims import Claims, Pusher
from funclet.scaler.fleet import Fleet
from funclet.scaler.gauges import Gauges
from funclet.scaler.idleness import Idleness
from funclet.scaler.pools import Pools
from funclet.scaler.setbacks import Setbacks
from funclet.scaler.sizes import Sizes


class Reconciler:
    """Knows all functions, all demand and all instances. The pusher specialises instances and reports back here."""

    def __init__(
        self,
        functions: dict[str, Revision],
        fleet: Fleet,
        pools: Pools,
        claims: Claims,
        sizes: Sizes,
        setbacks: Setbacks,
        clock: Callable[[], float],
    ) -> None:
        self.book = DemandBook()
        self._functions = functions
        self._fleet = fleet
        self._pools = pools
        self._claims = claims
        self._sizes = sizes
        self._setbacks = setbacks
        self._clock = clock
        self._gauges = Gauges()
        self._idleness = Idleness(self.book, clock)
        self._pace = Pace()
        self._wanting: set[str] = set()
        self._pusher: Pusher | None = None
        self._certain_from = 0.0

    def begin(self, pusher: Pusher) -> None:
        """All that was there is known: act from now on, but lower nothing before the gateways can have spoken."""
        self._pusher = pusher
        if self._fleet.register.functions:
            self._certain_from = self._clock() + UNKNOWN_AFTER_SECONDS
        for instance in list(self._fleet.register.by_name.values()):
            self.recognise(instance)
        self.reconcile(*self._functions)
        self._pools.refill_all()

    @property
    def is_busy(self) -> bool:
        """Whether time alone can change something: otherwise nothing has to be looked at."""
        fleet, idleness = self._fleet.register.functions, self._idleness.is_waiting
        return bool(fleet or self._wanting or self._pools.are_unsettled or idleness)

    def tick(self) -> None:
        """Do what has become due."""
        self._wanting.update(self.book.forget_silent(self._clock()))
        self.reconcile(*{*self._fleet.register.functions, *self._wanting, *self._idleness.take_due()})
        self._pools.retry()

    def take_report(self, report: DemandReport) -> None:
        """A gateway or the events role has spoken."""
        self.book.enter(report, self._clock())
        for name in report.drained:
            self._fleet.note_drained(name, report.reporter)
        self.reconcile(*report.functions)

    def function_changed(self, key: str, revision: Revision | None) -> None:
        """The catalog has a new word on a function."""
        self._setbacks.forget(key)
        self._fleet.endings.follow(key, revision)
        self._pools.follow(key, revision)
        self.reconcile(key)
        if revision is None:
            self._forget_function(key)

    def reconcile(self, *keys: str) -> None:
        """Bring functions to what they need: first it is known what all of them want, then each is served in turn."""
        if self._pusher is None:
            return
        for key in keys:
            self._settle(key, self._pusher)
        self.serve()

    def serve(self) -> None:
        """Give away what has become free."""
        if self._pusher is not None:
            self._claims.serve(self._pusher, self.misfit, self._not_created)
            self._fleet.labels.write(quiet=self._pusher.is_idle and not self._claims.are_waited_for)

    def recognise(self, instance: Instance) -> None:
        """What an instance from before this scaler is, and whose, is known."""
        if self._pusher is None or instance.function is None:
            return
        revision = self._functions.get(instance.function)
        if revision is not None and revision.revision == instance.revision:
            self._fleet.recognise(instance, revision)
            if instance.state is State.READY:
                self._sizes.fit(instance, revision.memory_mib, self.misfit)
        self.reconcile(instance.function)

    def misfit(self, instance: Instance, reason: str) -> None:
        """Its node cannot give an instance its function's size: another of that size takes its place."""
        if instance.function is not None and instance.state in SERVING_SOON:
            self._claims.avoid_pool(instance.function)
            self._fleet.misfit(instance, reason)
            self.reconcile(instance.function)

    def accepted(self, instance: Instance, revision: Revision, slots: tuple[int, ...]) -> None:
        """The agent has taken the code."""
        if instance.state is not State.SPECIALISING:
            return
        self._setbacks.succeed(revision.key)
        newest = self._functions.get(revision.key)
        if newest is None or newest.revision != revision.revision:
            self._fleet.remove(instance, "Superseded")
        else:
            self._fleet.ready(instance, slots, revision)
            self._note_pace(instance, revision)
        self.reconcile(revision.key)

    def refused(self, instance: Instance, revision: Revision, error: InvalidSpec) -> None:
        """No instance can be made of this revision: those who wait are told."""
        self._fleet.remove(instance, "Refused")
        self._setbacks.refuse(revision, error.reason, error.message)
        self.reconcile(revision.key)

    def failed(self, instance: Instance, revision: Revision, message: str) -> None:
        """This instance is of no use; another is tried after a while, or at once if this one was given up."""
        if instance.state is State.GONE:
            return
        self._setbacks.count(revision, "InstanceFailed", message)
        self._fleet.remove(instance, "Failed")
        self.reconcile(revision.key)

    def prepared(self, revision: Revision) -> None:
        """Code and Secrets are at hand."""
        self.reconcile(revision.key)

    def unprepared(self, revision: Revision, error: FuncletError) -> None:
        """Code or Secrets cannot be had now: that is tried again after a while."""
        self._setbacks.count(revision, error.reason, error.message)

    def _settle(self, key: str, pusher: Pusher) -> None:
        """Bring one function to what it needs, but for what it has to wait for."""
        revision = self._functions.get(key)
        self._retire_others(key, revision)
        if revision is None:
            # Words on it are kept: a gateway may have seen the function first.
            self._claims.cancel(key)
            self._gauges.show_function(key, self._fleet.register.of_function(key))
            return
        demand, policy, current = self._demand(key), self._policy(revision), self._capacity(revision)
        idle = self._idleness.read(revision, current)
        predicted = self._idleness.predicted_count(revision, policy.cold_start_seconds + (demand.init_seconds or 0.0))
        decision = decide(policy, demand, len(current), predicted)
        missing = decision.desired - len(current)
        self._push_listening(revision, current, pusher)
        if missing > 0:
            self._grow(revision, missing, demand, pusher)
        else:
            self._claims.cancel(key)
            history = self._idleness.history(revision)
            for name in plan_scale_in(policy, decision, len(current), idle, history):
                self._fleet.retire(self._fleet.register.by_name[name], "Idle")
        if demand.queued:
            self._tell_if_stuck(revision, current)
        self._note(key, waiting=missing > 0 or not demand.is_zero)

    def _demand(self, key: str) -> Demand:
        now = self._clock()
        demand = self.book.demand(key, now)
        return replace(demand, certain=False) if now < self._certain_from else demand

    def _policy(self, revision: Revision) -> Policy:
        pool, warm = pool_of(revision), self._claims.has_instance_for(revision)
        return replace(policy_of(revision), cold_start_seconds=self._pace.expected_seconds(pool, warm=warm))

    def _capacity(self, revision: Revision) -> list[Instance]:
        """What serves this revision now or soon."""
        for instance in self._fleet.register.of_function(revision.key):
            if self._sizes.is_overdue(instance) and instance.state in SERVING_SOON:
                self._claims.avoid_pool(revision.key)
                self._fleet.misfit(instance, "ResizeOverdue")
        return self._fleet.register.serving_soon(revision.key, revision.revision)

    def _retire_others(self, key: str, revision: Revision | None) -> None:
        for instance in self._fleet.register.of_function(key):
            self._fleet.settle_drain(instance)
            if revision is None:
                self._fleet.retire(instance, "FunctionDeleted")
            elif instance.revision != revision.revision:
                self._fleet.retire(instance, "Superseded")

    def _push_listening(self, revision: Revision, current: Iterable[Instance], pusher: Pusher) -> None:
        """The code for those that were started for this function and have begun to listen."""
        listening = [one for one in current if one.state is State.GENERIC]
        if listening and self._setbacks.may_try(revision.key) and pusher.prepare(revision):
            for instance in listening:
                pusher.push(instance, revision)

    def _grow(self, revision: Revision, missing: int, demand: Demand, pusher: Pusher) -> None:
        if not self._may_start(revision):
            self._claims.cancel(revision.key)
            if demand.queued:
                self._setbacks.tell_waiting(revision.key)
        elif pusher.prepare(revision):
            self._claims.want(revision, missing, self._not_created)
        else:
            self._claims.cancel(revision.key)

    def _may_start(self, revision: Revision) -> bool:
        may_try = self._setbacks.may_try(revision.key)
        if may_try and self._fleet.endings.has(revision.namespace):
            self._setbacks.refuse(revision, NAMESPACE_TERMINATING, "the namespace is being deleted")
            return False
        return may_try

    def _tell_if_stuck(self, revision: Revision, current: list[Instance]) -> None:
        """Callers who wait for a node with room are told so, unless somebody serves them."""
        if any(one.state is not State.STARTING for one in current):
            return
        awaited = current
        if self._claims.is_waiting(revision.key):
            awaited = [*current, *self._fleet.register.of_pool(pool_of(revision))]
        if (stuck := find_stuck(awaited, self._clock())) is not None:
            self._setbacks.tell_stuck(revision, stuck)

    def _not_created(self, instance: Instance, message: str) -> None:
        if revision := self._functions.get(instance.function or ""):
            if not self._fleet.endings.has(revision.namespace):
                self._setbacks.count(revision, "InstanceNotCreated", message)
            self._wanting.add(revision.key)

    def _note_pace(self, instance: Instance, revision: Revision) -> None:
        if instance.asked_at is not None:
            seconds = self._clock() - instance.asked_at
            self._pace.observe(pool_of(revision), seconds, warm=instance.was_waiting)

    def _note(self, key: str, *, waiting: bool) -> None:
        (self._wanting.add if waiting else self._wanting.discard)(key)
        self._gauges.show_function(key, self._fleet.register.of_function(key))

    def _forget_function(self, key: str) -> None:
        self.book.forget_function(key)
        self._idleness.forget(key)
        self._claims.forget(key)
        self._wanting.discard(key)
        self._gauges.forget_function(key)
