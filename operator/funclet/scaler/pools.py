"""The warm pools: kept at their size as long as a function can use them."""

import logging
from collections.abc import Callable

from funclet.core.backoff import Backoff
from funclet.core.claims import ClaimQueue
from funclet.core.instances import Instance
from funclet.core.pool import (
    Pool,
    PoolLimits,
    PoolPlan,
    PoolSize,
    Takings,
    may_use_pool,
    may_wait,
    plan_pool,
    pool_of,
    settle_limit,
    settle_size,
)
from funclet.core.retries import Retries
from funclet.core.revision import Revision
from funclet.scaler.fleet import Fleet
from funclet.scaler.gauges import show_pool

log = logging.getLogger(__name__)

RETRY = Backoff(base_seconds=1.0, cap_seconds=60.0)
"""An image that cannot be pulled or an agent that ends at once must not make a pod a second for ever."""


class Pools:
    """Which pools are wanted, by which functions, how large they should be, and what they lack."""

    def __init__(self, limits: PoolLimits, fleet: Fleet, queue: ClaimQueue, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._fleet = fleet
        self._queue = queue
        self._clock = clock
        self._users: dict[Pool, dict[str, int]] = {}
        """The functions of each pool, with their memory sizes."""
        self._pool_of: dict[str, Pool] = {}
        self._sizes: dict[Pool, PoolSize] = {}
        self._takings: dict[Pool, Takings] = {}
        self._retries = Retries(RETRY)
        self._unsettled: set[Pool] = set()
        self._begun = False

    @property
    def are_unsettled(self) -> bool:
        """Whether a pool is to be looked at again: it is short and filled later, or larger than its minimum."""
        return bool(self._unsettled)

    @property
    def are_kept(self) -> bool:
        """Whether this installation has pools at all."""
        return self._limits.minimum > 0

    def has_user(self, key: str) -> bool:
        """Whether a generic instance can become one of this function."""
        return key in self._pool_of

    def is_failing(self, pool: Pool) -> bool:
        """Whether its last instance did not start, and the next one is not tried yet."""
        return self._retries.wait_seconds("/".join(pool), self._clock()) > 0

    def follow(self, key: str, revision: Revision | None) -> None:
        """A function has come, changed or gone."""
        before = self._pool_of.pop(key, None)
        after = pool_of(revision) if revision and may_use_pool(revision) else None
        if before is not None and before != after:
            self._leave(before, key)
        if after is not None:
            self._pool_of[key] = after
            assert revision is not None
            self._users.setdefault(after, {})[key] = revision.memory_mib
            self._fleet.raise_limits(after, self.limit_mib(after))
        for pool in {before, after} - {None}:
            assert pool is not None
            self.refill(pool)

    def limit_mib(self, pool: Pool) -> int:
        """How much memory an instance of this pool may take."""
        return settle_limit(self._users.get(pool, {}).values(), self._limits)

    def refill_all(self) -> None:
        """The beginning: bring all pools to their size, those that nobody wants any more to nothing."""
        self._begun = True
        for pool in {*self._users, *self._fleet.register.pools}:
            self.refill(pool)

    def note_taken(self, pool: Pool, count: int = 1) -> None:
        """Instances were taken, or would have been; what they leave is filled up in a quieter moment."""
        if pool not in self._takings:
            self._takings[pool] = Takings(max(self._limits.maximum, self._limits.minimum))
        self._takings[pool].note(count, self._clock())
        self._unsettled.add(pool)

    def refill(self, pool: Pool) -> None:
        """Start or remove what the plan says. While somebody waits, no more is started than is waited for."""
        if not self._begun:
            return
        unclaimed, waiting = self._fleet.register.of_pool(pool), self._queue.waiting_for(pool)
        size = self._settle(pool)
        short = PoolPlan(start=max(0, waiting - len(unclaimed)))
        plan = short if waiting else plan_pool(size.instances, unclaimed, calls_come=self._calls_come(pool))
        for name in plan.remove:
            self._fleet.remove(self._fleet.register.by_name[name], "PoolTooLarge")
        if plan.start and self._must_wait(pool, size, len(unclaimed), waiting):
            self._keep_unsettled(pool, still=True)
        else:
            for number in range(plan.start):
                self._fleet.start_generic(pool, self.limit_mib(pool), self._not_created, awaited=number < waiting)
            there = len(self._fleet.register.of_pool(pool))
            self._keep_unsettled(pool, still=waiting > 0 or size.instances > min(there, self._limits.minimum))
        show_pool(pool, len(self._fleet.register.of_pool(pool)))

    def retry(self) -> None:
        """Settle what is unsettled."""
        for pool in list(self._unsettled):
            self.refill(pool)

    def note_failure(self, pool: Pool) -> None:
        """An instance of this pool ended unasked: the next one waits a little."""
        failures = self._retries.fail("/".join(pool), self._clock())
        log.warning("pool instance failed", extra={"namespace": pool[0], "runtime": pool[1], "failures": failures})

    def note_started(self, pool: Pool) -> None:
        """An instance of this pool has started; a larger function may have come since it was asked for."""
        self._retries.succeed("/".join(pool))
        self._fleet.raise_limits(pool, self.limit_mib(pool))

    def _settle(self, pool: Pool) -> PoolSize:
        now = self._clock()
        if pool not in self._users:
            self._sizes.pop(pool, None)
            self._takings.pop(pool, None)
            return PoolSize(0, now)
        taken = self._takings[pool].count(now) if pool in self._takings else 0
        size = settle_size(self._sizes.get(pool, PoolSize(0, now)), taken, self._limits, now)
        self._sizes[pool] = size
        return size

    def _calls_come(self, pool: Pool) -> bool:
        return pool in self._takings and self._takings[pool].count(self._clock()) > 0

    def _must_wait(self, pool: Pool, size: PoolSize, unclaimed: int, waiting: int) -> bool:
        """For failures to be over or the namespace to be another one, or for a quieter moment if nobody waits."""
        if self.is_failing(pool) or self._fleet.endings.has(pool[0]):
            return True
        if waiting or pool not in self._takings:
            return False
        return may_wait(size.instances, unclaimed, self._takings[pool], self._clock())

    def _keep_unsettled(self, pool: Pool, *, still: bool) -> None:
        (self._unsettled.add if still and pool in self._users else self._unsettled.discard)(pool)

    def _not_created(self, instance: Instance, _: str) -> None:
        pool = (instance.namespace, instance.runtime)
        if not self._fleet.endings.has(pool[0]):
            self.note_failure(pool)
        self.refill(pool)

    def _leave(self, pool: Pool, key: str) -> None:
        users = self._users[pool]
        users.pop(key, None)
        if not users:
            del self._users[pool]
