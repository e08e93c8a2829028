"""A queue of keys: each key waits once, however often it is added, and is never worked on twice at a time."""

import asyncio
import random
from collections import deque

from funclet.core.backoff import Backoff

RETRY = Backoff(base_seconds=2.0, cap_seconds=30.0)
"""A missing reference that appears is noticed within half a minute, also where its kind can't be watched."""

Key = tuple[str, str]
"""Kind and `namespace/name`."""


class WorkQueue:
    """Keys that want work. A key that is added while it is worked on is given out again afterwards."""

    def __init__(self, retry: Backoff = RETRY) -> None:
        self._retry = retry
        self._waiting: deque[Key] = deque()
        self._queued: set[Key] = set()
        self._running: set[Key] = set()
        self._attempts: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._available = asyncio.Semaphore(0)

    def add(self, key: Key) -> None:
        """Work on this key soon. A retry that it waited for is not needed then."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._queued:
            return
        self._queued.add(key)
        if key not in self._running:
            self._offer(key)

    async def get(self) -> Key:
        """The next key; call `done` for it afterwards."""
        await self._available.acquire()
        key = self._waiting.popleft()
        self._queued.discard(key)
        self._running.add(key)
        return key

    def done(self, key: Key, *, again: bool = False) -> None:
        """The work on a key ended. `again`: it was in vain, and is to be tried after a growing wait."""
        self._running.discard(key)
        if not again:
            self._attempts.pop(key, None)
        if key in self._queued:
            self._offer(key)
        elif again:
            self._attempts[key] = self._attempts.get(key, 0) + 1
            delay = self._retry.delay(self._attempts[key], random.random())  # noqa: S311 - spreads load, hides nothing
            self._timers[key] = asyncio.get_running_loop().call_later(delay, self.add, key)

    def close(self) -> None:
        """Forget all retries, so that no timer outlives its reconciler."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _offer(self, key: Key) -> None:
        self._waiting.append(key)
        self._available.release()
