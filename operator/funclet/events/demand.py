"""The backlog of all sources, and how the scaler hears of it."""

import asyncio
import contextlib
import logging
import time
from typing import Protocol

from funclet.core.messages import DemandReport, FunctionDemand
from funclet.errors import Unavailable

log = logging.getLogger(__name__)

SIGN_OF_LIFE_SECONDS = 1.0
LEAST_INTERVAL_SECONDS = 0.1
"""Between two reports while anything changes; a function that had no backlog and has one is reported at once."""


class Reporter(Protocol):
    """Whoever takes demand reports: the scaler's client."""

    async def report(self, report: DemandReport) -> None:
        """Raises Unavailable when the scaler did not take it."""


class DemandLedger:
    """What waits, in batches, by function and Trigger. None is a source that cannot be read: unknown, not empty."""

    def __init__(self) -> None:
        self._backlogs: dict[str, dict[str, int | None]] = {}
        self._unreported: set[str] = set()
        self._drained: list[str] = []
        self.urgent = asyncio.Event()
        """A function has work after it had none."""

    def put(self, function: str, trigger: str, backlog: int | None) -> None:
        """One source's word."""
        before = self.backlog(function)
        if function not in self._backlogs:
            self._unreported.add(function)  # the first word counts also when it is that nothing waits
        self._backlogs.setdefault(function, {})[trigger] = backlog
        self._note(function, before)

    def remove(self, function: str, trigger: str) -> None:
        """The source is no more."""
        before = self.backlog(function)
        sources = self._backlogs.get(function, {})
        sources.pop(trigger, None)
        if not sources:
            self._backlogs.pop(function, None)
        self._note(function, before)

    def backlog(self, function: str) -> int | None:
        """All sources of a function together; one unknown makes the sum unknown."""
        values = self._backlogs.get(function, {}).values()
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    def take_report(self) -> dict[str, int | None]:
        """What to report now: all that changed, and all that is not empty, so that a new scaler knows in a second."""
        backlogs = {function: self.backlog(function) for function in self._backlogs.keys() | self._unreported}
        report = {name: value for name, value in backlogs.items() if value != 0 or name in self._unreported}
        self._unreported = set()
        self.urgent.clear()
        return report

    def let_go(self, instance: str) -> None:
        """This draining instance is not used: the scaler waits for all that follow its feed to say so."""
        self._drained.append(instance)

    def take_drained(self) -> list[str]:
        """The instances to name as drained now."""
        drained, self._drained = self._drained, []
        return drained

    def return_drained(self, instances: list[str]) -> None:
        """These were not delivered."""
        self._drained += instances

    def return_report(self, functions: set[str]) -> None:
        """These were not delivered."""
        self._unreported |= functions

    @property
    def changed(self) -> bool:
        """Whether the scaler's knowledge is old."""
        return bool(self._unreported or self._drained)

    def _note(self, function: str, before: int | None) -> None:
        now = self.backlog(function)
        if now == before:
            return
        self._unreported.add(function)
        if before == 0:
            self.urgent.set()


async def report_forever(ledger: DemandLedger, reporter: Reporter, name: str) -> None:
    """Reports at once on 0 → n, every 100 ms while anything changes, and every second as a sign of life."""
    reachable = True
    while True:
        backlogs, drained = ledger.take_report(), ledger.take_drained()
        demand = {function: FunctionDemand(backlog=backlog) for function, backlog in backlogs.items()}
        try:
            await reporter.report(DemandReport(reporter=name, functions=demand, drained=drained))
            reachable = _log_transition(reachable, now=True)
        except Unavailable:
            ledger.return_report(set(backlogs))
            ledger.return_drained(drained)
            reachable = _log_transition(reachable, now=False)
        if reachable:
            await _wait(ledger)
        else:
            await asyncio.sleep(LEAST_INTERVAL_SECONDS)


async def _wait(ledger: DemandLedger) -> None:
    end = time.monotonic() + SIGN_OF_LIFE_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAST_INTERVAL_SECONDS):
                await ledger.urgent.wait()
        if ledger.changed:
            return


def _log_transition(before: bool, *, now: bool) -> bool:
    if before and not now:
        log.warning("the scaler does not take demand reports", extra={"reason": "ScalerUnavailable"})
    if now and not before:
        log.info("the scaler takes demand reports again")
    return now
