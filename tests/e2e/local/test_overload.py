"""Ten times more than a function can do: what it can do is done, the rest is refused in Lambda's words, soon.

FUNCLET_LOAD_SECONDS makes each load longer than the two seconds that fit `make test`.
"""

import asyncio
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop
from benchmarks.load import Tally, Target, closed_loop, invoke_target, is_fair_refusal, open_loop
from tests.e2e.conftest import Deployer
from tests.e2e.worlds import LocalWorld, World

SECONDS = float(os.environ.get("FUNCLET_LOAD_SECONDS", "2"))
SLOTS = 4
HANDLER = """
    import time
    def handler(event, context):
        time.sleep(0.05)
        return "done"
"""
GOODPUT_SHARE = 0.5
"""Of the peak: a collapse leaves nothing, and the generator shares the machine with what it floods. The budget, 0.9, is
measured by `make bench ONLY=overload`."""
GROWTH_LIMIT_MIB = 100
"""Of the whole of Funclet in one process: a thousand waiting calls, their connections, and what Python keeps of it."""


def target(world: World, function: str) -> Target:
    url = urlsplit(world.url)
    return invoke_target(url.hostname or "", url.port or 80, function, b"{}")


def resident_mib(world: World) -> float:
    assert isinstance(world, LocalWorld)
    status = Path(f"/proc/{world.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def beside(flood: "asyncio.Future[Tally]", other: Target) -> list[int]:
    """Calls of another function, one after another, for as long as the flood lasts: their statuses."""
    statuses: list[int] = []
    while not flood.done():
        tally = await closed_loop(other, 1, 0.2)
        statuses += tally.statuses.elements()
    return statuses


@pytest.mark.parametrize(("loop", "limit"), [("open", "queue"), ("closed", "reserved concurrency")])
def test_ten_times_the_capacity(world: World, deploy: Deployer, limit: str, loop: str) -> None:
    more: dict[str, Any] = {"reservedConcurrentExecutions": SLOTS} if limit == "reserved concurrency" else {}
    function = deploy.function(
        HANDLER,
        timeout=10,
        scaling={"concurrencyPerInstance": SLOTS, "maxInstances": 1, "idleTimeoutSeconds": 60},
        **more,
    )
    other = deploy.function("def handler(event, context): return 1", scaling={"idleTimeoutSeconds": 60})
    world.invoke(function)
    world.invoke(other)
    call = target(world, function)
    peak = uvloop.run(closed_loop(call, SLOTS, SECONDS, check=is_fair_refusal))
    before = resident_mib(world)

    async def overload() -> tuple[Tally, list[int]]:
        if loop == "open":
            load = open_loop(call, 10 * peak.goodput, SECONDS, check=is_fair_refusal)
        else:
            load = closed_loop(call, 10 * SLOTS, SECONDS, check=is_fair_refusal, backoff_seconds=0.02)
        flood = asyncio.ensure_future(load)
        statuses = await beside(flood, target(world, other))
        return await flood, statuses

    flood, statuses = uvloop.run(overload())
    assert set(flood.statuses) <= {200, 429, 503}, flood.summary()
    assert flood.complaints == []
    assert flood.missed == 0
    assert flood.goodput >= GOODPUT_SHARE * peak.goodput, f"{peak.summary()} at the peak; flooded: {flood.summary()}"
    assert set(statuses) == {200}
    assert resident_mib(world) - before < GROWTH_LIMIT_MIB
