"""The warm pools: kept at their size as long as a function can use them."""

import logging
from collections.abc import Callable

from funclet.core.backoff import Backoff
from funclet.core.instances import Instance
from funclet.core.pool import may_use_pool, plan_pool
from funclet.core.retries import Retries
from funclet.core.revision import Revision
from funclet.scaler.fleet import Fleet
from funclet.scaler.gauges import show_pool

log = logging.getLogger(__name__)

RETRY = Backoff(base_seconds=1.0, cap_seconds=60.0)
"""An image that cannot be pulled or an agent that ends at once must not make a pod a second for ever."""

Pool = tuple[str, str]


class Pools:
    """Which pools are wanted, by which functions, and what they lack."""

    def __init__(self, size: int, fleet: Fleet, clock: Callable[[], float]) -> None:
        self._size = size
        self._fleet = fleet
        self._clock = clock
        self._users: dict[Pool, set[str]] = {}
        self._pool_of: dict[str, Pool] = {}
        self._retries = Retries(RETRY)
        self._waiting: set[Pool] = set()
        self._begun = False

    @property
    def are_waiting(self) -> bool:
        """Whether a pool is short and is filled later."""
        return bool(self._waiting)

    def follow(self, key: str, revision: Revision | None) -> None:
        """A function has come, changed or gone."""
        before = self._pool_of.pop(key, None)
        after = (revision.namespace, revision.runtime) if revision and may_use_pool(revision) else None
        if before is not None and before != after:
            self._leave(before, key)
        if after is not None:
            self._pool_of[key] = after
            self._users.setdefault(after, set()).add(key)
        for pool in {before, after} - {None}:
            assert pool is not None
            self.refill(pool)

    def refill_all(self) -> None:
        """The beginning: bring all pools to their size, those that nobody wants any more to nothing."""
        self._begun = True
        for pool in {*self._users, *self._fleet.register.pools}:
            self.refill(pool)

    def refill_soon(self, pool: Pool) -> None:
        """At the next tick: starting an instance takes time of this process that a caller is waiting for."""
        self._waiting.add(pool)

    def refill(self, pool: Pool) -> None:
        """Start or remove what the plan says."""
        if not self._begun:
            return
        unclaimed = self._fleet.register.of_pool(pool)
        plan = plan_pool(self._size if pool in self._users else 0, unclaimed)
        for name in plan.remove:
            self._fleet.remove(self._fleet.register.by_name[name], "PoolTooLarge")
        if plan.start and self._retries.wait_seconds("/".join(pool), self._clock()) > 0:
            self._waiting.add(pool)
            return
        self._waiting.discard(pool)
        for _ in range(plan.start):
            self._fleet.start_generic(pool, self._not_created)
        show_pool(pool, len(self._fleet.register.of_pool(pool)))

    def retry(self) -> None:
        """Fill what may be filled again."""
        for pool in list(self._waiting):
            self.refill(pool)

    def note_failure(self, pool: Pool) -> None:
        """An instance of this pool ended unasked: the next one waits a little."""
        failures = self._retries.fail("/".join(pool), self._clock())
        log.warning("pool instance failed", extra={"namespace": pool[0], "runtime": pool[1], "failures": failures})

    def _not_created(self, instance: Instance) -> None:
        pool = (instance.namespace, instance.runtime)
        self.note_failure(pool)
        self.refill(pool)

    def _leave(self, pool: Pool, key: str) -> None:
        users = self._users[pool]
        users.discard(key)
        if not users:
            del self._users[pool]
