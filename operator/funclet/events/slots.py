"""What the scaler's feed says of slots: how many invocations of a revision can run at a time."""

from collections.abc import Callable
from typing import assert_never

from funclet.core.messages import (
    Draining,
    FeedMessage,
    Gone,
    InstanceAddress,
    Peers,
    Ping,
    Ready,
    Refused,
    Snapshot,
)


class Slots:
    """Counts usable slots by function and revision, and tells a function's listeners when theirs changed."""

    def __init__(self) -> None:
        self._instances: dict[str, InstanceAddress] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._listeners: dict[str, set[Callable[[], None]]] = {}

    def count(self, key: str, revision: str) -> int:
        """Slots of this revision of `namespace/name`."""
        return self._counts.get((key, revision), 0)

    def listen(self, key: str, callback: Callable[[], None]) -> None:
        """Calls back whenever the slots of `namespace/name` have changed."""
        self._listeners.setdefault(key, set()).add(callback)

    def forget(self, key: str, callback: Callable[[], None]) -> None:
        """Calls back no more."""
        listeners = self._listeners.get(key, set())
        listeners.discard(callback)
        if not listeners:
            self._listeners.pop(key, None)

    def apply(self, message: FeedMessage) -> None:
        """Takes in one message of the feed."""
        match message:
            case Snapshot(instances=instances):
                self._replace({instance.name: instance for instance in instances})
            case Ready(instance=instance):
                self._remove(instance.name)
                self._add(instance)
            case Draining(instance=name) | Gone(instance=name):
                self._remove(name)
            case Refused() | Ping() | Peers():
                pass
            case _:
                assert_never(message)

    def _replace(self, instances: dict[str, InstanceAddress]) -> None:
        for name in [name for name, known in self._instances.items() if instances.get(name) != known]:
            self._remove(name)
        for name in instances.keys() - self._instances.keys():
            self._add(instances[name])

    def _add(self, instance: InstanceAddress) -> None:
        self._instances[instance.name] = instance
        self._change(instance, len(instance.slots))

    def _remove(self, name: str) -> None:
        instance = self._instances.pop(name, None)
        if instance is not None:
            self._change(instance, -len(instance.slots))

    def _change(self, instance: InstanceAddress, slots: int) -> None:
        place = (instance.function, instance.revision)
        count = self._counts.pop(place, 0) + slots
        if count:
            self._counts[place] = count
        for callback in tuple(self._listeners.get(instance.function, ())):
            callback()
