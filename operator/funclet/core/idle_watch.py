"""From readings of a function's instances to what a keep-alive policy has to hear: uses after a while, and ends."""

from collections.abc import Iterable
from dataclasses import dataclass

from funclet.core.keep_alive import IdleHistory


@dataclass(frozen=True, slots=True)
class Reading:
    """One ready instance. `uses` counts how often a free slot of it was taken."""

    name: str
    idle_seconds: float
    """0 while it is busy."""
    uses: int


@dataclass(slots=True)
class _Seen:
    """An instance as it was read last. `idle_since` is None while it is busy."""

    idle_since: float | None
    uses: int
    used: bool


class IdleWatch:
    """One function's instances, reading by reading."""

    def __init__(self, history: IdleHistory) -> None:
        self.history = history
        self._seen: dict[str, _Seen] = {}

    def read(self, readings: Iterable[Reading], now: float) -> None:
        """All instances that are ready, now. Those that are missing are gone."""
        found = {reading.name: reading for reading in readings}
        for name in self._seen.keys() - found.keys():
            self._gone(self._seen.pop(name), now)
        busy = sum(reading.idle_seconds == 0 for reading in found.values())
        for reading in found.values():
            self._look(reading, now, level=max(busy, 1))

    @property
    def used_count(self) -> int:
        """Instances that have been used; the others stand for those that are gone."""
        return sum(one.used for one in self._seen.values())

    def _look(self, reading: Reading, now: float, level: int) -> None:
        idle_since = None if reading.idle_seconds == 0 else now - reading.idle_seconds
        seen = self._seen.setdefault(reading.name, _Seen(idle_since, 0, used=False))
        if reading.uses > seen.uses:  # fewer: a reporter has begun anew
            if not seen.used:
                self.history.first_used(now, level)
            elif seen.idle_since is not None:
                self.history.used_again((now if idle_since is None else idle_since) - seen.idle_since, level)
            seen.used = True
        seen.uses, seen.idle_since = reading.uses, idle_since

    def _gone(self, seen: _Seen, now: float) -> None:
        if seen.used:
            self.history.departed(now if seen.idle_since is None else seen.idle_since)
