"""Calls a second through one gateway process and through two on the same port, and what a call costs in each case.

Every caller calls a function of its own, so that homes are spread; with two processes about half of the calls reach
the one that is not the function's home and are passed on. Callers and instances run on the same cores as the gateways,
and on a machine with few cores take what a second process could have: there look at the gateways' CPU for a call.

Run: python -m benchmarks.gateway_scaling [CALLS]
"""

import functools
import statistics
import sys
import time
from dataclasses import dataclass

import uvloop

from benchmarks.figure import Figure, Peer
from benchmarks.processes import Child, python_server
from benchmarks.report import beside_text, value_text
from benchmarks.warm_path import call_functions

CALLERS = 16
CALLS = 24_000
WARM_UP_CALLS = 4000
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Round:
    """One measured run."""

    calls_per_second: float
    cpu_us: float
    """Of all gateway processes and their supervisor, for a call."""


def measure(calls: int = CALLS) -> list[Figure]:
    """Medians over rounds that take turns."""
    one: list[Round] = []
    two: list[Round] = []
    with python_server("slots", CALLERS, 0) as slots:
        for _ in range(ROUNDS):
            for processes, rounds in ((1, one), (2, two)):
                with python_server("workers", processes, *slots.ports) as child:
                    rounds.append(run(child, calls))
    return [
        Figure(
            "gateway_two_processes_rps",
            statistics.median(r.calls_per_second for r in two),
            "calls/s",
            peers=[Peer("one process", statistics.median(r.calls_per_second for r in one))],
            why="callers, instances and gateways share this machine's cores",
        ),
        Figure(
            "gateway_two_processes_cpu_us",
            statistics.median(r.cpu_us for r in two),
            "µs",
            peers=[Peer("one process", statistics.median(r.cpu_us for r in one))],
        ),
    ]


def run(child: Child, calls: int) -> Round:
    """Calls on connections of their own, spread by the kernel."""
    names = [f"f{number}" for number in range(CALLERS)]
    drive = functools.partial(call_functions, child.port, names)
    uvloop.run(drive(WARM_UP_CALLS))
    cpu, began = child.cpu_seconds, time.perf_counter()
    uvloop.run(drive(calls))
    seconds = time.perf_counter() - began
    return Round(calls / seconds, (child.cpu_seconds - cpu) / calls * 1e6)


if __name__ == "__main__":
    for figure in measure(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS):
        print(f"{figure.name}: {value_text(figure)}; {beside_text(figure)}")
