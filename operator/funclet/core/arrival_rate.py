"""How often something arrives, from a counter that is read now and then."""

from math import exp

MEMORY_SECONDS = 30.0
"""A burst counts as if it had come spread over this time, and is forgotten after about as long.

Three times the target for draining a backlog (`scaling.BACKLOG_TARGET_SECONDS`), so that a backlog which came at once
is not mistaken for a load that stays.
"""


class ArrivalRate:
    """An exponentially weighted rate. `now` is in seconds of any monotonic clock."""

    __slots__ = ("_at", "_count", "_rate")

    def __init__(self, count: int, now: float) -> None:
        self._count = count
        self._at = now
        self._rate = 0.0

    def advance(self, count: int, now: float) -> None:
        """The counter stands at `count`. A counter that has gone back was restarted."""
        arrived = count - self._count if count >= self._count else count
        self._rate = self.per_second(now) + arrived / MEMORY_SECONDS
        self._count = count
        self._at = now

    def per_second(self, now: float) -> float:
        """The rate as far as it is known now."""
        return self._rate * exp(-max(0.0, now - self._at) / MEMORY_SECONDS)
