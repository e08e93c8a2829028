"""Who gets the next instance of the warm pools: functions that wait take turns.

1. A function that begins to wait goes to the end of the round, and so does one that was given an instance and waits
   for more. So nobody waits while another gets its second.
2. A function keeps its turn while its pool has nothing to give; others do not wait for it.
3. What a function waits for may change at any time, and ends when its demand does: nothing is held for it meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass

from funclet.core.pool import Pool


@dataclass(slots=True)
class _Line:
    count: int
    turn: int


class ClaimQueue:
    """How many instances each function waits for, in the order of their turns."""

    def __init__(self) -> None:
        self._turns = 0
        self._lines: dict[Pool, dict[str, _Line]] = {}
        self._pool_of: dict[str, Pool] = {}
        self._totals: dict[Pool, int] = {}

    def want(self, function: str, pool: Pool, count: int) -> None:
        """From now on the function waits for so many instances of this pool; 0: for none."""
        if self._pool_of.get(function, pool) != pool:
            self.drop(function)
        line = self._lines.get(pool, {}).get(function)
        if line is not None and count > 0:
            self._totals[pool] += count - line.count
            line.count = count
        elif line is not None:
            self.drop(function)
        elif count > 0:
            self._enter(function, pool, count)

    def drop(self, function: str) -> None:
        """The function waits for nothing any more."""
        pool = self._pool_of.pop(function, None)
        if pool is not None:
            self._totals[pool] -= self._lines[pool].pop(function).count
            self._forget_if_empty(pool)

    def take(self, has_instance: Callable[[Pool], bool]) -> str | None:
        """The function whose turn it is among those whose pool has an instance; it waits for one less."""
        heads = [next(iter(lines.items())) for pool, lines in self._lines.items() if has_instance(pool)]
        if not heads:
            return None
        function, line = min(heads, key=lambda head: head[1].turn)
        pool = self._pool_of[function]
        self.drop(function)
        self.want(function, pool, line.count - 1)
        return function

    def waiting_for(self, pool: Pool) -> int:
        """Instances of a pool that are waited for."""
        return self._totals.get(pool, 0)

    def functions(self, pool: Pool) -> list[str]:
        """Those that wait for this pool, in the order of their turns."""
        return list(self._lines.get(pool, ()))

    def count(self, function: str) -> int:
        """How many instances a function waits for."""
        pool = self._pool_of.get(function)
        return self._lines[pool][function].count if pool is not None else 0

    @property
    def pools(self) -> list[Pool]:
        """Pools that somebody waits for."""
        return list(self._lines)

    def _enter(self, function: str, pool: Pool, count: int) -> None:
        self._turns += 1
        self._lines.setdefault(pool, {})[function] = _Line(count, self._turns)
        self._pool_of[function] = pool
        self._totals[pool] = self._totals.get(pool, 0) + count

    def _forget_if_empty(self, pool: Pool) -> None:
        if not self._lines[pool]:
            del self._lines[pool], self._totals[pool]
