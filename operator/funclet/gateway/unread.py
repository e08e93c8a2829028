"""A caller that does not read its answers: what lies here for it, and whether it reads fast enough."""

import asyncio

from funclet.gateway.budget import Budget
from funclet.gateway.delivery import acknowledged_bytes
from funclet.gateway.limits import Limits


class Unread:
    """From the moment in which the transport asked to write no more, until `end`."""

    __slots__ = ("_budget", "_deadline", "_limits", "_taken", "_transport", "size")

    def __init__(self, transport: asyncio.WriteTransport, budget: Budget, limits: Limits, now: float) -> None:
        self._transport = transport
        self._budget = budget
        self._limits = limits
        self._deadline = now + limits.read_seconds
        self._taken = self._count_taken()
        """What it had taken when its time to read on began."""
        self.size = 0
        """Bytes that lie here."""
        self.grow(transport.get_write_buffer_size())

    def grow(self, size: int) -> None:
        """So much more was written all the same."""
        self.size += size
        self._budget.used_bytes += size

    def end(self) -> None:
        """It reads again, or is gone."""
        self.grow(-self.size)

    def is_too_slow(self, now: float) -> bool:
        """It must take `read_bytes` in every `read_seconds`."""
        self.grow(self._transport.get_write_buffer_size() - self.size)
        taken = self._count_taken()
        if taken - self._taken >= self._limits.read_bytes:
            self._taken = taken
            self._deadline = now + self._limits.read_seconds
        return now >= self._deadline

    def _count_taken(self) -> int:
        """A number that grows with every byte that the caller takes: our buffer alone shrinks in large steps."""
        acknowledged = acknowledged_bytes(self._transport)
        return -self._transport.get_write_buffer_size() if acknowledged is None else acknowledged
