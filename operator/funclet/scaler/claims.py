"""Gives instances to functions: those of the warm pool in turn, or new ones.

An instance is claimed in the moment in which it is specialised, so whoever stops waiting before has taken nothing. A
function of the pool's size never has an instance started for itself: what starts goes to the one whose turn it is.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from funclet.core.claims import ClaimQueue
from funclet.core.instances import Instance
from funclet.core.pool import POOL_MEMORY_MIB, Pool, find_claimable, pool_of
from funclet.core.revision import Revision
from funclet.scaler.fleet import Fleet, NotCreated
from funclet.scaler.phases import note_phase
from funclet.scaler.pools import Pools
from funclet.scaler.sizes import OnMisfit, Sizes

NO_ROOM_SECONDS = 60.0
"""For how long a function gets instances of its own size after a node had no room to resize a generic one."""
POOL_FIRST_SECONDS = 0.1
"""What is missing is started once all that the pool had is specialised, or after so long: twenty pods that begin to
start take the CPU that ten callers need for ten milliseconds each."""


class Pusher(Protocol):
    """Specialises instances."""

    @property
    def has_room(self) -> bool:
        """Whether one more would begin at once."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being specialised."""

    def prepare(self, revision: Revision) -> bool:
        """Whether all that a specialisation needs is at hand; if not, it is fetched, and the outcome told."""

    def push(self, instance: Instance, revision: Revision) -> None:
        """Specialise it."""


class Claims:
    """What functions wait for, and how they get it."""

    def __init__(
        self,
        functions: dict[str, Revision],
        fleet: Fleet,
        pools: Pools,
        queue: ClaimQueue,
        sizes: Sizes,
        clock: Callable[[], float],
    ) -> None:
        self._functions = functions
        self._fleet = fleet
        self._sizes = sizes
        self._pools = pools
        self._queue = queue
        self._clock = clock
        self._asked_at: dict[str, deque[float]] = {}
        self._no_room_until: dict[str, float] = {}
        self._short_since: float | None = None

    def want(self, revision: Revision, count: int, not_created: NotCreated) -> None:
        """The function needs so many instances more than it has."""
        self._note_asked(revision.key, count)
        if self._may_claim(revision):
            self._queue.want(revision.key, pool_of(revision), count)
        else:
            self._queue.drop(revision.key)
            self._start(revision, count, not_created)

    def cancel(self, key: str) -> None:
        """The function needs none any more."""
        self._queue.drop(key)
        self._asked_at.pop(key, None)

    def forget(self, key: str) -> None:
        """The function is no more."""
        self.cancel(key)
        self._no_room_until.pop(key, None)

    def avoid_pool(self, key: str) -> None:
        """No node had room to give a generic instance this function's size."""
        self._no_room_until[key] = self._clock() + NO_ROOM_SECONDS

    @property
    def are_waited_for(self) -> bool:
        """Whether any function waits for an instance of a pool."""
        return bool(self._queue.pools)

    def is_waiting(self, key: str) -> bool:
        """Whether the function waits for an instance of the pool."""
        return self._queue.count(key) > 0

    def has_instance_for(self, revision: Revision) -> bool:
        """Whether the function would be given an instance at once."""
        return self._may_claim(revision) and self._fleet.register.has_generic(pool_of(revision))

    def serve(self, pusher: Pusher, on_misfit: OnMisfit, not_created: NotCreated) -> None:
        """Give away what the pools have, in turn, and start what is missing."""
        while pusher.has_room and (key := self._queue.take(self._fleet.register.has_generic)) is not None:
            self._claim(self._functions[key], pusher, on_misfit)
        if self._may_start(pusher):
            for pool in self._queue.pools:
                self._start_missing(pool, not_created)

    def _may_start(self, pusher: Pusher) -> bool:
        """Whether somebody waits for what the pools do not have, and nobody is served any more from what they had."""
        now = self._clock()
        if not self._queue.pools:
            self._short_since = None
        elif self._short_since is None:
            self._short_since = now
        return self._short_since is not None and (pusher.is_idle or now - self._short_since >= POOL_FIRST_SECONDS)

    def _claim(self, revision: Revision, pusher: Pusher, on_misfit: OnMisfit) -> None:
        pool = pool_of(revision)
        instance = find_claimable(self._fleet.register.of_pool(pool))
        assert instance is not None  # `take` has asked
        instance.asked_at = self._next_asked(revision.key)
        instance.was_waiting = instance.since <= instance.asked_at
        note_phase(instance, "claim", instance.asked_at, self._clock())
        self._fleet.claim(instance, revision)
        pusher.push(instance, revision)
        self._sizes.fit(instance, revision.memory_mib, on_misfit)
        self._pools.note_taken(pool)

    def _start_missing(self, pool: Pool, not_created: NotCreated) -> None:
        """The last in the round get instances of their own size, where that is not the pool's; the others generic ones.

        Where generic ones do not start, everybody gets one of his own: so a failure is told to whom it concerns.
        """
        there = len(self._fleet.register.of_pool(pool))
        starting_works = not self._pools.is_failing(pool)
        keys = self._queue.functions(pool) if self._queue.waiting_for(pool) > there else []
        for key in reversed(keys):
            revision, waits_for = self._functions[key], self._queue.count(key)
            count = min(waits_for, self._queue.waiting_for(pool) - there)
            if count > 0 and not (starting_works and revision.memory_mib == POOL_MEMORY_MIB):
                self._pools.note_taken(pool, count)
                self._queue.want(key, pool, waits_for - count)
                self._start(revision, count, not_created)
        self._pools.refill(pool)

    def _start(self, revision: Revision, count: int, not_created: NotCreated) -> None:
        for _ in range(count):
            self._fleet.start_for(revision, not_created, self._next_asked(revision.key))

    def _note_asked(self, key: str, count: int) -> None:
        """Those that are wanted no more are the last that were asked for."""
        times = self._asked_at.setdefault(key, deque())
        while len(times) > count:
            times.pop()
        times.extend([self._clock()] * (count - len(times)))

    def _next_asked(self, key: str) -> float:
        times = self._asked_at[key]
        asked_at = times.popleft()
        if not times:
            del self._asked_at[key]
        return asked_at

    def _may_claim(self, revision: Revision) -> bool:
        fits = self._clock() >= self._no_room_until.get(revision.key, 0.0)
        return fits and self._pools.are_kept and self._pools.has_user(revision.key)
