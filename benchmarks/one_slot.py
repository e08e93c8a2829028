"""Sixteen callers of one function, from zero: sixteen instances with one slot, over one instance with sixteen slots.

The handler waits 10 ms, as one that asks a database does. `details` has the same with a handler that returns at once.
"""

import asyncio
import time

import uvloop

from benchmarks.cluster import Cluster, cluster
from benchmarks.figure import Budget, Figure, Peer
from benchmarks.warm_path import call, call_each

CALLERS = 16
SECONDS = 4.0
WAITING = "import time\ndef handler(event, context):\n    time.sleep(0.01)\n    return 'Hello, ' + event['name']\n"
AT_ONCE = "def handler(event, context):\n    return 'Hello, ' + event['name']\n"


def measure() -> Figure:
    """Throughput over throughput."""
    with cluster(pool=CALLERS) as world:
        one, sixteen = [throughput(world, WAITING, "wait", slots) for slots in (1, CALLERS)]
        at_once = [throughput(world, AT_ONCE, "once", slots) for slots in (1, CALLERS)]
        instances = len(world.list_pods("funclet.dev/function=wait-1-00000"))
    return Figure(
        "one_at_a_time_vs_16_slots",
        one / sixteen,
        "×",
        Budget(0.8, at_least=True),
        [Peer("one instance with 16 slots", 1.0), Peer("Fission 1.27", 20 / 1242, "20 against 1,242 calls a second")],
        why=f"{one:.0f} against {sixteen:.0f} calls a second, {instances} instances",
        details={"waiting_calls_per_s": [one, sixteen], "at_once_calls_per_s": at_once},
    )


def throughput(world: Cluster, source: str, name: str, slots: int) -> float:
    """Calls a second, after a first round in which the instances come."""
    scaling = {"concurrencyPerInstance": slots, "maxInstances": CALLERS // slots, "idleTimeoutSeconds": 600}
    [function] = world.create_functions(1, source, prefix=f"{name}-{slots}", scaling=scaling)
    world.wait_pool(CALLERS)
    request = world.request(function)
    uvloop.run(call_each(world.host, world.port, [request] * CALLERS))
    world.wait_labelled(function)
    world.wait_pool(CALLERS)  # its refill takes the CPU that is measured here
    return uvloop.run(calls_per_second(world, request))


async def calls_per_second(world: Cluster, request: bytes) -> float:
    """Of a closed loop."""
    counted, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < SECONDS:
        counted += len(await call(world.port, CALLERS * 50, CALLERS, [request], world.host))
        await asyncio.sleep(0)
    return counted / elapsed
