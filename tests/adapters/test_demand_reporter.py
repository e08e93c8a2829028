"""A gateway whose scaler is starting anew: what could not be delivered is tried again soon."""

import asyncio

from funclet.core.function_pool import FunctionPool
from funclet.core.messages import DemandReport
from funclet.errors import Unavailable
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
