"""The warm pool: generic instances that wait for a function, for each (namespace, runtime) in use.

How many: what recent demand took, half as much again, between a minimum and a maximum. It grows at once and shrinks by
an eighth at a time, so that the next burst of the same size finds it ready.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from funclet.api.pod import PodSettings
from funclet.core.instances import Instance, State
from funclet.core.revision import Revision

POOL_MEMORY_MIB = 128
"""What a generic instance requests: the smallest memory size a function may have, so a claim only raises requests."""
POOL_EPHEMERAL_STORAGE_MIB = 512
"""The default size of /tmp; it cannot be changed in a running pod."""
POOL_TIMEOUT_SECONDS = 900
"""The longest timeout a function may have: whoever claims the instance can end its invocation."""

WINDOW_SECONDS = 10.0
"""What a refill takes: forty pods at once take a node of two cores five to ten seconds."""
MARGIN = 1.5
"""The next window may bring half as many again."""
SHRINK_SECONDS = 30.0
"""Between two steps down. From 20 to 2 it takes six minutes without demand."""
SHRINK_PART = 8
QUIET_SECONDS, BURST_SECONDS = 0.25, 1.0
"""A refill waits until nobody has taken an instance for the first time: starting pods takes CPU that callers wait for.
When takings do not end for the second time, it begins as soon as half of the pool is gone."""
PACED_PART = 16
"""While calls come, a pool that is not nearly empty is filled by a sixteenth at a time, at least by one. A pod that
starts takes half a second of CPU, mostly the node's: with one, three in four cold starts took 15 ms at most on two
cores, with two or three 29, with four and more 104 (docs/scaling.md)."""

Pool = tuple[str, str]
"""Namespace and runtime."""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What to do so that a pool has its size."""

    start: int = 0
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What an installation allows. A minimum of 0 is no pool at all."""

    minimum: int
    maximum: int
    memory_mib: int = POOL_MEMORY_MIB
    """How much memory a generic instance may take at most, whatever it may become."""


@dataclass(frozen=True, slots=True)
class PoolSize:
    """How many instances a pool should have, and since when not fewer were needed, or when it was last lowered."""

    instances: int
    since: float


class Takings:
    """When instances were taken from a pool, or would have been had it not been empty; no more than `limit` of them."""

    def __init__(self, limit: int) -> None:
        self._times: deque[float] = deque(maxlen=max(1, limit))
        self._burst_began = 0.0

    def note(self, count: int, now: float) -> None:
        """So many were taken."""
        if self.is_quiet(now):
            self._burst_began = now
        self._times.extend([now] * min(count, self._times.maxlen or 1))

    def count(self, now: float) -> int:
        """How many were taken in the last window."""
        while self._times and self._times[0] <= now - WINDOW_SECONDS:
            self._times.popleft()
        return len(self._times)

    def is_quiet(self, now: float) -> bool:
        """Whether nobody has taken one for a moment."""
        return not self._times or now - self._times[-1] >= QUIET_SECONDS

    def burst_seconds(self, now: float) -> float:
        """For how long they have been taken without a quiet moment; 0 in a quiet one."""
        return 0.0 if self.is_quiet(now) else now - self._burst_began


def settle_size(last: PoolSize, taken: int, limits: PoolLimits, now: float) -> PoolSize:
    """The size after a window in which `taken` instances were taken: 10 taken are 15 to hold."""
    if limits.minimum == 0:
        return PoolSize(0, now)
    wanted = min(max(ceil(taken * MARGIN), limits.minimum), max(limits.maximum, limits.minimum))
    if wanted >= last.instances:
        return PoolSize(wanted, now)
    if now - last.since < SHRINK_SECONDS:
        return last
    step = max(1, last.instances // SHRINK_PART)
    return PoolSize(max(wanted, last.instances - step), now)


def may_wait(size: int, unclaimed: int, takings: Takings, now: float) -> bool:
    """Whether the refill of a pool may wait for a quieter moment."""
    is_short = unclaimed * 2 < size and takings.burst_seconds(now) >= BURST_SECONDS
    return not is_short and not takings.is_quiet(now)


def settle_limit(sizes: Iterable[int], limits: PoolLimits) -> int:
    """How much memory, in MiB, a generic instance may take: what the largest of these functions was promised."""
    return max(POOL_MEMORY_MIB, min(max(sizes, default=0), limits.memory_mib))


def may_use_pool(revision: Revision) -> bool:
    """Whether a generic instance can become one of this function: labels can still be put on it, the rest cannot."""
    if revision.image is not None:
        return False
    bare = revision.pod.model_copy(update={"labels": {}, "annotations": {}})
    return bare == PodSettings() and revision.ephemeral_storage_mib == POOL_EPHEMERAL_STORAGE_MIB


def pool_of(revision: Revision) -> Pool:
    """The pool whose instances run this function's runtime in its namespace."""
    return revision.namespace, revision.runtime


def plan_pool(size: int, unclaimed: list[Instance], *, calls_come: bool) -> PoolPlan:
    """Fill up what is missing, while calls come only so fast that they hardly notice; or remove what is too much, the
    newest and not yet started first.
    """
    missing = size - len(unclaimed)
    if missing >= 0:
        return PoolPlan(start=min(missing, _count_startable(size, unclaimed)) if calls_come else missing)
    by_worth = sorted(unclaimed, key=_worth)
    return PoolPlan(remove=tuple(instance.name for instance in by_worth[size:]))


def _count_startable(size: int, unclaimed: list[Instance]) -> int:
    """Up to a quarter of the pool at once: one that runs empty costs its callers more. With 2 of 20 there, 3 start."""
    starting = sum(one.state is State.STARTING for one in unclaimed)
    there = len(unclaimed) - starting
    return max(0, max(1, size // PACED_PART, size // 4 - there) - starting)


def find_claimable(unclaimed: list[Instance]) -> Instance | None:
    """The instance to give away: one whose agent listens, the oldest first."""
    return min((one for one in unclaimed if one.state is State.GENERIC), key=_worth, default=None)


def _worth(instance: Instance) -> tuple[bool, float, str]:
    return (instance.state is not State.GENERIC, instance.since, instance.name)
