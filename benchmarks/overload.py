"""Ten times what a function's instances can do: what still gets done, and how the rest is refused.

First as an open loop, ten times the peak's calls on a clock; then as a closed one, ten times the callers with whom all
slots are busy, and each that is refused comes back 20 ms later. The function has eight slots of 10 ms; a second
function on the same gateway is called all the time. Every answer must be a success, a 429 or a 503 with Retry-After in
Lambda's words. FUNCLET_LOAD_SECONDS is how long each of the two lasts.
"""

import asyncio
import os
from collections.abc import Coroutine
from dataclasses import dataclass

import uvloop

from benchmarks.figure import Budget, Figure, Peer
from benchmarks.load import Tally, closed_loop, invoke_target, is_fair_refusal, open_loop
from benchmarks.processes import Child, named_gateway, python_server

SLOTS = 8
SLOT_MS = 10
PEAK_CALLERS = 32
PEAK_SECONDS = 4.0
FLOOD_SECONDS = float(os.environ.get("FUNCLET_LOAD_SECONDS", "8"))
LIMIT_SECONDS = round(90 + 2 * FLOOD_SECONDS)
"""For the whole benchmark, however long its two floods are to last."""
TIMES = 10
BACKOFF_SECONDS = 0.02
MEMORY_BUDGET_MIB = 256
PAYLOAD = b'{"name": "World"}'


@dataclass(frozen=True, slots=True)
class Flood:
    """What happened under one kind of load to the function and to its neighbour."""

    function: Tally
    neighbour: Tally

    @property
    def fault(self) -> str | None:
        """What was not in order."""
        count = self.function.complaint_count + self.neighbour.complaint_count + self.function.statuses[0]
        return f"{count} answers were not in order: {self.function.complaints}" if count else None

    def text(self, name: str) -> str:
        """For people."""
        answers = sum(self.function.statuses.values())
        return (
            f"{name} loop {self.function.goodput:.0f} calls/s, {answers:,} answers, "
            f"a neighbour's median {self.neighbour.latency(0.5) * 1000:.1f} ms"
        )


def measure() -> list[Figure]:
    """The worse of the two goodputs' ratios to the peak, and the memory that the floods took."""
    with python_server("slots", SLOTS + 1, SLOT_MS) as slots:
        *own, other = slots.ports
        functions = [*(f"hello={port}" for port in own), f"neighbour={other}"]
        with named_gateway("t", *functions) as gateway:
            before = gateway.resident_mib
            floods = uvloop.run(run(gateway))
            grown = gateway.resident_mib - before
    if faults := [flood.fault for flood in floods.values() if flood.fault]:
        raise RuntimeError("; ".join(faults))
    peak = floods.pop("peak")
    ratio = min(flood.function.goodput for flood in floods.values()) / peak.function.goodput
    why = "; ".join(
        [
            f"the peak {peak.function.goodput:.0f} calls/s, a neighbour's median "
            f"{peak.neighbour.latency(0.5) * 1000:.1f} ms",
            *(flood.text(name) for name, flood in floods.items()),
        ]
    )
    return [
        Figure(
            "overload_goodput_ratio", ratio, "×", Budget(0.9, at_least=True), [Peer("the peak before", 1.0)], why=why
        ),
        Figure("overload_memory_mib", grown, "MiB", Budget(MEMORY_BUDGET_MIB), [Peer("before", before)]),
    ]


async def run(gateway: Child) -> dict[str, Flood]:
    """First the peak, then the floods; the neighbour's caller is there each time."""
    hello, neighbour = (invoke_target("127.0.0.1", gateway.port, name, PAYLOAD) for name in ("hello", "neighbour"))

    async def load(function: Coroutine[None, None, Tally], seconds: float) -> Flood:
        beside = closed_loop(neighbour, 1, seconds, check=is_fair_refusal)
        return Flood(*await asyncio.gather(function, beside))

    peak = await load(closed_loop(hello, PEAK_CALLERS, PEAK_SECONDS, check=is_fair_refusal), PEAK_SECONDS)
    rate = TIMES * peak.function.goodput
    opened = open_loop(hello, rate, FLOOD_SECONDS, check=is_fair_refusal, connections=4000)
    callers = TIMES * PEAK_CALLERS
    closed = closed_loop(hello, callers, FLOOD_SECONDS, check=is_fair_refusal, backoff_seconds=BACKOFF_SECONDS)
    return {"peak": peak, "open": await load(opened, FLOOD_SECONDS), "closed": await load(closed, FLOOD_SECONDS)}
