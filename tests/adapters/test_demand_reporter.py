"""The scaler hears of a pressing queue at once, of another with the next report, and soon of what it did not hear."""

import asyncio

import pytest

from funclet.core.function_pool import FunctionPool
from funclet.core.messages import DemandReport, InstanceAddress
from funclet.errors import Unavailable
from funclet.gateway import demand
from funclet.gateway.demand import DemandReporter

REFUSALS = 20
PLAINLY_BROKEN_SECONDS = 15.0
"""One report a second would take twenty."""


async def test_a_call_that_waits_is_told_soon_after_the_scaler_is_back() -> None:
    told: asyncio.Future[DemandReport] = asyncio.get_running_loop().create_future()
    refused = 0

    async def send(report: DemandReport) -> None:
        nonlocal refused
        if refused < REFUSALS:
            refused += 1
            raise Unavailable("it starts", reason="ScalerUnavailable")
        if not told.done():
            told.set_result(report)

    reporter = DemandReporter("gateway-0", send, lambda _: None, asyncio.get_running_loop())
    pool: FunctionPool[str] = FunctionPool("default/hello", 10, 1000)
    pool.admit("a call")
    reporter.hurry(pool)
    running = asyncio.create_task(reporter.run())
    async with asyncio.timeout(PLAINLY_BROKEN_SECONDS):
        report = await told
    running.cancel()
    assert report.functions["default/hello"].queued == 1


async def test_a_queue_that_will_soon_be_served_waits_for_the_next_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand, "CHANGE_GAP_SECONDS", 3600)
    monkeypatch.setattr(demand, "LIFE_SIGN_SECONDS", 3600)
    reports: asyncio.Queue[DemandReport] = asyncio.Queue()

    async def send(report: DemandReport) -> None:
        reports.put_nowait(report)

    loop = asyncio.get_running_loop()
    reporter = DemandReporter("gateway-0", send, lambda _: None, loop)
    pool: FunctionPool[str] = FunctionPool("default/hello", 1000, 1_000_000)
    pool.switch("r1", None)
    pool.add(InstanceAddress(name="i", function=pool.key, revision="r1", host="h", slots=[1], token="t"), 0)
    running = asyncio.create_task(reporter.run())
    first = await reports.get()  # with which it begins
    slot = pool.admit("runs")
    assert slot is not None
    pool.service_ms = 1.0
    async with asyncio.timeout(PLAINLY_BROKEN_SECONDS):
        waiting = 0
        while not pool.is_pressing:
            assert pool.admit(f"waits {waiting}") is None
            waiting += 1
            if not pool.is_pressing:
                reporter.hurry(pool)
                for _ in range(5):  # turns of the loop, in which a report that is due would be sent
                    await asyncio.sleep(0)
        assert (waiting, reports.qsize()) == (51, 0)
        reporter.hurry(pool)
        pressing = await reports.get()
    running.cancel()
    assert not first.functions
    assert pressing.functions["default/hello"].queued == 51
