"""Tells the ledger what was counted, once a second while anything is: behind the calls, never in their way."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from funclet.adapters.jetstream import connect
from funclet.adapters.metrics import InvocationMeters
from funclet.adapters.usage_journal import UsageEntry, UsageJournal
from funclet.adapters.usage_ledger import UsageLedger
from funclet.core.usage import hour_of
from funclet.errors import Unavailable

if TYPE_CHECKING:
    from nats.aio.client import Client

log = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
"""What the end of the machine may take from the ledger; the end of the process takes nothing."""


class UsageReporter:
    """Joins the meters, the journal and the ledger."""

    def __init__(
        self,
        meters: InvocationMeters,
        journal: UsageJournal,
        nats_url: str | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._nats_url = nats_url
        self._clock = clock
        self._hour = hour_of(clock())
        self._client: Client | None = None
        self._told = True
        self._task: asyncio.Task[None] | None = None
        self._meters = meters
        meters.keep_usage_in(self._entry)

    def _entry(self, key: str) -> UsageEntry:
        return self._journal.entry(key, self._hour)

    async def start(self) -> None:
        """Begin to tell, as soon as JetStream can be reached; without one the journal alone is kept."""
        if self._nats_url is not None:
            self._task = asyncio.create_task(self._run(self._nats_url), name="usage")

    async def stop(self) -> None:
        """Tell the rest, and disconnect. What cannot be told stays in the journal."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._client is not None:
            if self._client.is_connected:
                await self._tell(UsageLedger(self._client))
            await self._client.close()
        self._meters.keep_usage_in(None)
        self._journal.close()

    async def _run(self, nats_url: str) -> None:
        self._client = await connect(nats_url, "funclet-gateway-usage")
        ledger = UsageLedger(self._client)
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            try:
                await self._tell(ledger)
            except Exception:  # the outermost line of the loop
                log.exception("usage not told")

    async def _tell(self, ledger: UsageLedger) -> None:
        """All changed entries. At the turn of an hour the others are moved on with them."""
        now = hour_of(self._clock())
        entries = self._journal.take_changed()
        if now != self._hour:
            entries = self._journal.entries()
        told = [entry.so_far() for entry in entries]
        try:
            await ledger.store([one for one in told if one.usage.invocations])
        except Unavailable as error:
            self._journal.put_back(entries)
            self._note(told=False, detail=error.message)
            return
        except asyncio.CancelledError:
            self._journal.put_back(entries)
            raise
        self._note(told=True)
        for entry, so_far in zip(entries, told, strict=True):
            if entry.hour < now:
                entry.begin_hour(now, so_far)
        self._hour = now

    def _note(self, *, told: bool, detail: str = "") -> None:
        """One line a transition."""
        if told != self._told:
            self._told = told
            log.log(logging.INFO if told else logging.WARNING, "usage ledger", extra={"told": told, "detail": detail})
