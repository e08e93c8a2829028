"""The bytes of payloads that the gateway holds.

There is one budget for requests and one for answers: with a single one, calls that wait for a slot could take all the
room that the answer on this slot waits for. Small payloads are left out; the numbers of connections, of slots and of
waiting invocations bound them.
"""


class Budget:
    """So many bytes in all."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def take(self, size: int) -> bool:
        """Count `size` bytes more; False, and nothing counted, when there is no room for them."""
        if self.used_bytes + size > self.limit_bytes:
            return False
        self.used_bytes += size
        return True

    def give_back(self, size: int) -> None:
        """They are no longer held."""
        self.used_bytes -= size


class Lease:
    """What one payload takes of the budget, for as long as the lease lives: its owner keeps it beside the bytes."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    def grow(self, size: int) -> bool:
        """Hold `size` bytes in all; False: no room, and as many as before are held."""
        if not self._budget.take(size - self._size):
            return False
        self._size = size
        return True

    def __del__(self) -> None:
        self._budget.give_back(self._size)
