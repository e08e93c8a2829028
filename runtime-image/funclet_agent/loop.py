"""The agent's event loop: descriptors and what to call when they have something. It sleeps while nothing happens."""

import select
from collections.abc import Callable
from typing import Protocol

READ, WRITE = select.POLLIN, select.POLLOUT


class Timer(Protocol):
    """Whoever must be called at a time."""

    @property
    def wake_at(self) -> int | None:
        """When, nanoseconds of CLOCK_MONOTONIC."""

    def look(self, now: int) -> None:
        """It is that time, or another."""


class Loop:
    """One poll."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []
        """Beside those of the processes; most instances have none."""
        self._poll = select.poll()
        self._callbacks: dict[int, Callable[[], None]] = {}

    def watch(self, descriptor: int, callback: Callable[[], None], events: int = READ) -> None:
        """Call back whenever the descriptor can be read (or what `events` says)."""
        self._callbacks[descriptor] = callback
        self._poll.register(descriptor, events)

    def change(self, descriptor: int, events: int) -> None:
        """Watch for other events; with 0 only for the end of a connection that was reset."""
        self._poll.modify(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """No longer, if at all."""
        if self._callbacks.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def run_once(self, wait_ns: int | None) -> None:
        """Wait for something to read, at most so long (None: for ever), and call back. Milliseconds are rounded up."""
        for descriptor, _ in self._poll.poll(None if wait_ns is None else max(0, -(-wait_ns // 1_000_000))):
            callback = self._callbacks.get(descriptor)
            if callback is not None:
                callback()
