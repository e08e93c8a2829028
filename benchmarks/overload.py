"""Ten times what a function's instances can do, as an open loop: what still gets done, and how the rest is refused.

The function has eight slots of 10 ms; a second function on the same gateway is called all the time. Every answer must
be a success, a 429 or a 503 with Retry-After in Lambda's words.
"""

import asyncio
from dataclasses import dataclass

import uvloop

from benchmarks.figure import Budget, Figure, Peer
from benchmarks.load import Tally, closed_loop, invoke_target, is_fair_refusal, open_loop
from benchmarks.processes import Child, named_gateway, python_server

SLOTS = 8
SLOT_MS = 10
PEAK_CALLERS = 32
PEAK_SECONDS = 4.0
FLOOD_SECONDS = 12.0
TIMES = 10
MEMORY_BUDGET_MIB = 256
PAYLOAD = b'{"name": "World"}'


@dataclass(frozen=True, slots=True)
class Flood:
    """The peak before, and what happened under the flood to the function and to its neighbour."""

    peak: Tally
    calm: Tally
    flooded: Tally
    neighbour: Tally


def measure() -> list[Figure]:
    """The goodput's ratio, and the memory that the flood took."""
    with python_server("slots", SLOTS + 1, SLOT_MS) as slots:
        *own, other = slots.ports
        functions = [*(f"hello={port}" for port in own), f"neighbour={other}"]
        with named_gateway("t", *functions) as gateway:
            before = gateway.resident_mib
            flood = uvloop.run(run(gateway))
            grown = gateway.resident_mib - before
    complaints = flood.flooded.complaint_count + flood.neighbour.complaint_count + flood.flooded.statuses[0]
    if complaints:
        raise RuntimeError(f"{complaints} answers were not in order: {flood.flooded.complaints}")
    ratio = flood.flooded.goodput / flood.peak.goodput
    neighbour_ms, calm_ms = flood.neighbour.latency(0.5) * 1000, flood.calm.latency(0.5) * 1000
    why = (
        f"{flood.flooded.goodput:.0f} of {flood.peak.goodput:.0f} calls/s, "
        f"{sum(flood.flooded.statuses.values()):,} answers; "
        f"a neighbour's median {neighbour_ms:.1f} ms, before {calm_ms:.1f}"
    )
    return [
        Figure(
            "overload_goodput_ratio", ratio, "×", Budget(0.9, at_least=True), [Peer("the peak before", 1.0)], why=why
        ),
        Figure("overload_memory_mib", grown, "MiB", Budget(MEMORY_BUDGET_MIB), [Peer("before", before)]),
    ]


async def run(gateway: Child) -> Flood:
    """First the peak, then the flood; the neighbour's caller is there both times."""
    hello, neighbour = (invoke_target("127.0.0.1", gateway.port, name, PAYLOAD) for name in ("hello", "neighbour"))
    peak, calm = await asyncio.gather(
        closed_loop(hello, PEAK_CALLERS, PEAK_SECONDS, check=is_fair_refusal),
        closed_loop(neighbour, 1, PEAK_SECONDS, check=is_fair_refusal),
    )
    flooded, beside = await asyncio.gather(
        open_loop(hello, TIMES * peak.goodput, FLOOD_SECONDS, check=is_fair_refusal, connections=4000),
        closed_loop(neighbour, 1, FLOOD_SECONDS, check=is_fair_refusal),
    )
    return Flood(peak, calm, flooded, beside)
