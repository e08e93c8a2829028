"""How long a cold start takes now, for each pool: moving averages over what was seen.

An instance that waits in the pool is ready in milliseconds, one that must be started first takes as long as its pod:
what the next one takes depends on whether the pool has one.
"""

from funclet.core.pool import Pool
from funclet.core.scaling import COLD_START_SECONDS

WEIGHT = 0.2
"""Of the newest: the last ten make up 90 %."""
SHORTEST_SECONDS, LONGEST_SECONDS = 0.05, 5.0
"""Demand is reported every 100 ms, so nothing can be decided more finely; and pods that waited for their image must not
stop a function from growing for long after."""


class Pace:
    """From the moment an instance was wanted to the moment it could be used."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[Pool, bool], float] = {}

    def observe(self, pool: Pool, seconds: float, *, warm: bool) -> None:
        """A cold start took so long; `warm` says that the instance had been there before anybody wanted it."""
        bounded = min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
        last = self.expected_seconds(pool, warm=warm)
        self._seconds[pool, warm] = last + WEIGHT * (bounded - last)

    def expected_seconds(self, pool: Pool, *, warm: bool) -> float:
        """What the next one may take; `warm` says that the pool has an instance for it."""
        return self._seconds.get((pool, warm), COLD_START_SECONDS)
