"""Tells the scaler what functions need: at once when a queue is pressing, every 100 ms while they change, each second.

Who waits for a slot that will be free in a moment needs no instance. If each were told of at once, callers who now and
then ask for the same function would cause 200 reports a second: a fifth of the CPU of two gateways with 64 callers.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from funclet.core.function_pool import FunctionPool
from funclet.core.messages import DemandReport
from funclet.errors import Unavailable

log = logging.getLogger(__name__)

URGENT_GAP_SECONDS = 0.005
"""Between two reports about growing queues: under overload every call would be one."""
CHANGE_GAP_SECONDS = 0.1
LIFE_SIGN_SECONDS = 1.0

Pool = FunctionPool[Any]


class DemandReporter:
    """Gathers changed pools and sends them. What could not be delivered is sent again."""

    def __init__(
        self,
        name: str,
        send: Callable[[DemandReport], Awaitable[None]],
        on_delivered: Callable[[Iterable[str]], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._name = name
        self._send = send
        self._on_delivered = on_delivered
        self._loop = loop
        self.peer: str | None = None
        """Its id among the gateways, once it has one."""
        self.changed: set[Pool] = set()
        """What the next report tells of. The hot path looks before it calls `touch`."""
        self._stray: list[str] = []
        self._wake = asyncio.Event()
        self._due = loop.time()
        self._last = 0.0
        self._reachable = True
        self._leaving = False

    def touch(self, pool: Pool) -> None:
        """Something about this pool has changed."""
        if pool not in self.changed:
            self.changed.add(pool)
            self._schedule(self._last + CHANGE_GAP_SECONDS)

    def hurry(self, pool: Pool) -> None:
        """An invocation waits and no slot is free: at once, if that may be worth an instance."""
        self.changed.add(pool)
        self._schedule(self._last + (URGENT_GAP_SECONDS if pool.is_pressing else CHANGE_GAP_SECONDS))

    def add_drained(self, name: str) -> None:
        """An instance that is in no pool is not used."""
        self._stray.append(name)
        self._schedule(self._last + CHANGE_GAP_SECONDS)

    def leave(self) -> None:
        """This gateway is being stopped: every report says so from now on, the first one at once."""
        self._leaving = True
        self._schedule(self._last)

    def _schedule(self, due: float) -> None:
        """Send at `due` at the latest. Waking is a flag, so what comes in the same turn of the loop goes together."""
        if due < self._due:
            self._due = due
            self._wake.set()

    async def run(self) -> None:
        """Report for ever."""
        while True:
            await self._sleep_until_due()
            try:
                await self._report()
            except Exception:
                log.exception("demand report failed")

    async def _sleep_until_due(self) -> None:
        while (delay := self._due - self._loop.time()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _report(self) -> None:
        now = self._last = self._loop.time()
        self._due = now + LIFE_SIGN_SECONDS
        pools, self.changed = self.changed, set()
        stray, self._stray = self._stray, []
        drained = [*stray, *(name for pool in pools for name in pool.drained)]
        functions = {pool.key: pool.demand(now) for pool in pools}
        try:
            await self._send(
                DemandReport(
                    reporter=self._name,
                    functions=functions,
                    drained=drained,
                    leaving=self._leaving,
                    peer=self.peer,
                )
            )
        except Unavailable as error:
            self.changed |= pools
            self._stray += stray
            self._due = now + CHANGE_GAP_SECONDS  # somebody may wait for a scaler that is starting
            self._note(reachable=False, detail=error.message)
            return
        self._note(reachable=True)
        for pool in pools:
            pool.drained = [name for name in pool.drained if name not in drained]
        self._on_delivered(drained)

    def _note(self, *, reachable: bool, detail: str = "") -> None:
        """One line a transition."""
        if reachable != self._reachable:
            self._reachable = reachable
            level = logging.INFO if reachable else logging.WARNING
            log.log(level, "demand reports", extra={"delivered": reachable, "detail": detail})
