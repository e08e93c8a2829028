"""The scaler's numbers for Prometheus: set when they change, removed with their function."""

from collections import Counter

from funclet.adapters.function_meter import version_labels
from funclet.adapters.metrics import INSTANCES, POOL_INSTANCES
from funclet.core.instances import Instance, State

SHOWN = tuple(state for state in State if state is not State.GONE)


class Gauges:
    """What was shown last, so that a tick in which nothing changed costs nothing."""

    def __init__(self) -> None:
        self._shown: dict[str, Counter[State]] = {}

    def show_function(self, key: str, instances: list[Instance]) -> None:
        """A function's instances by state; one without instances has no series, so that idle functions cost nothing."""
        counts, shown = Counter(instance.state for instance in instances), self._shown.get(key)
        if counts == (shown or Counter()):
            return
        if not counts:
            self.forget_function(key)
            return
        self._shown[key] = counts
        labels = version_labels(key)
        for state in SHOWN:
            if shown is None or counts[state] != shown[state]:
                INSTANCES.labels(**labels, state=state.value).set(counts[state])

    def forget_function(self, key: str) -> None:
        """Remove its series."""
        if self._shown.pop(key, None) is not None:
            INSTANCES.remove_by_labels(version_labels(key))


def show_pool(pool: tuple[str, str], instances: int) -> None:
    """A pool's size as it will be when all of it has started."""
    POOL_INSTANCES.labels(*pool).set(instances)
