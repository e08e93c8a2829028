"""What funclet_cold_start_seconds said while something was measured."""

import contextlib
from collections.abc import Iterator

from benchmarks.cluster import Cluster

Reading = dict[str, tuple[float, float]]
"""By phase: the sum of seconds, and how many."""


@contextlib.contextmanager
def phases(world: Cluster) -> Iterator[dict[str, dict[str, float]]]:
    """Filled at the end: by phase the mean in milliseconds, and the number of observations."""
    result: dict[str, dict[str, float]] = {}
    before = read(world)
    yield result
    for phase, (seconds, count) in read(world).items():
        seconds_before, count_before = before.get(phase, (0.0, 0.0))
        if count > count_before:
            mean_ms = (seconds - seconds_before) / (count - count_before) * 1000
            result[phase] = {"mean_ms": mean_ms, "count": count - count_before}


def read(world: Cluster) -> Reading:
    """All roles' sums and counts."""
    found: dict[str, list[float]] = {}
    for sample in world.metrics():
        for index, suffix in enumerate(("_sum", "_count")):
            if sample.name == f"funclet_cold_start_seconds{suffix}":
                found.setdefault(sample.labels["phase"], [0.0, 0.0])[index] += sample.value
    return {phase: (seconds, count) for phase, (seconds, count) in found.items()}
