"""The warm pool: generic instances that wait for a function, so many for each (namespace, runtime) in use."""

from collections.abc import Iterable
from dataclasses import dataclass

from funclet.api.function import PodSettings
from funclet.core.instances import Instance, State
from funclet.core.revision import Revision

POOL_MEMORY_MIB = 128
"""The smallest memory size a function may have: a resize of a generic instance only ever grows it."""
POOL_EPHEMERAL_STORAGE_MIB = 512
"""The default size of /tmp; it cannot be changed in a running pod."""
POOL_TIMEOUT_SECONDS = 900
"""The longest timeout a function may have: whoever claims the instance can end its invocation."""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What to do so that a pool has its size."""

    start: int = 0
    remove: tuple[str, ...] = ()


def may_use_pool(revision: Revision) -> bool:
    """Whether a generic instance can become one of this function: labels can still be put on it, the rest cannot."""
    bare = revision.pod.model_copy(update={"labels": {}, "annotations": {}})
    return bare == PodSettings() and revision.ephemeral_storage_mib == POOL_EPHEMERAL_STORAGE_MIB


def pools_wanted(revisions: Iterable[Revision]) -> set[tuple[str, str]]:
    """The (namespace, runtime) pairs that have at least one function that can use a pool."""
    return {(revision.namespace, revision.runtime) for revision in revisions if may_use_pool(revision)}


def plan_pool(size: int, unclaimed: list[Instance]) -> PoolPlan:
    """Fill up what is missing, or remove what is too much, the newest and not yet started first."""
    missing = size - len(unclaimed)
    if missing >= 0:
        return PoolPlan(start=missing)
    by_worth = sorted(unclaimed, key=_worth)
    return PoolPlan(remove=tuple(instance.name for instance in by_worth[size:]))


def find_claimable(unclaimed: list[Instance]) -> Instance | None:
    """The instance to give away: one that has an address, else the one that will have it first."""
    return min(unclaimed, key=_worth, default=None)


def _worth(instance: Instance) -> tuple[bool, bool, float, str]:
    return (instance.state is not State.GENERIC, not instance.running, instance.since, instance.name)
