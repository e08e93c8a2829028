"""Calls a second through one, two and three gateways: processes of one machine, and replicas that pass calls on.

Each gateway process may use a fifth of a CPU and no more, so that the gateways are the bottleneck, whatever callers and
instances take of the same cores. Every caller keeps its connection. Processes share a port: a caller with a function of
its own finds its connection handed over to the function's home; one that calls all functions in turn does not. Replicas
have a port each, over which the callers are spread: connections stay, and what is at home elsewhere is passed on.

Run: python -m benchmarks.gateway_scaling
"""

import itertools
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop

from benchmarks.cpu_share import limited
from benchmarks.figure import Budget, Figure, Peer
from benchmarks.processes import cpu_seconds, python_server, tree
from benchmarks.report import beside_text, value_text
from benchmarks.warm_path import REQUEST, call_steadily

CALLERS = 64
SHARE = 0.2
WARM_UP_SECONDS = 1.0
SECONDS = 2.5
ROUNDS = 2
FULL = 0.9
"""Gateways that use less of their share were waiting for somebody else."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What is measured: the figure's name, the server of benchmarks.servers, how many gateways, and the callers."""

    figure: str
    server: str
    gateways: int
    least: float = 0.0
    """Times what one gateway does."""
    mixed: bool = False


ONE = Setup("", "workers", 1)
SETUPS = (
    Setup("gateway_two_processes_rps", "workers", 2, 1.7),
    Setup("gateway_three_processes_rps", "workers", 3, 2.5),
    Setup("gateway_two_processes_mixed_rps", "workers", 2, 1.0, mixed=True),
    Setup("gateway_two_replicas_rps", "replicas", 2, 1.0),
    Setup("gateway_three_replicas_rps", "replicas", 3, 1.3),
)
FIGURES = tuple(setup.figure for setup in SETUPS)


@dataclass(frozen=True, slots=True)
class Round:
    """One measured run; `used` is the part of the gateways' shares of CPU that they used."""

    calls_per_second: float
    used: float


def measure() -> list[Figure]:
    """Medians over rounds that take turns."""
    rounds: dict[Setup, list[Round]] = {setup: [] for setup in (ONE, *SETUPS)}
    with python_server("slots", CALLERS, 0) as slots:
        for _ in range(ROUNDS):
            for setup, done in rounds.items():
                done.append(run(setup, slots.ports))
    one = Peer("one process", _median(rounds[ONE]))
    return [_figure(setup, rounds[setup], one) for setup in SETUPS]


def _figure(setup: Setup, rounds: Sequence[Round], one: Peer) -> Figure:
    rate = _median(rounds)
    cpu_us = setup.gateways * SHARE / rate * 1e6
    why = f"{cpu_us:.1f} µs of CPU a call, beside {SHARE / one.value * 1e6:.1f}"
    used = min(each.used for each in rounds)
    if used < FULL:
        why += f"; used only {used:.0%} of its CPU: the machine is too busy"
    return Figure(setup.figure, rate, "calls/s", None, [one], Budget(setup.least, at_least=True), why=why)


def _median(rounds: Sequence[Round]) -> float:
    return statistics.median(each.calls_per_second for each in rounds)


def run(setup: Setup, slots: Sequence[int]) -> Round:
    """Start the gateways, keep them in their shares, and call."""
    with python_server(setup.server, setup.gateways, *slots) as child:
        gateways = tree(child.pid)[1:]
        with limited(gateways, SHARE):
            ports = itertools.islice(itertools.cycle(child.ports), CALLERS)
            callers = list(zip(ports, _requests(mixed=setup.mixed), strict=True))
            uvloop.run(call_steadily(callers, WARM_UP_SECONDS))
            before = sum(map(cpu_seconds, gateways))
            count = uvloop.run(call_steadily(callers, SECONDS))
            used = sum(map(cpu_seconds, gateways)) - before
    return Round(count / SECONDS, used / (SECONDS * SHARE * setup.gateways))


def _requests(*, mixed: bool) -> list[list[bytes]]:
    """What each caller sends in turn: always the same, or a call of each function in an order of its own."""
    all_of_them = [REQUEST.replace(b"/functions/hello/", b"/functions/f%d/" % number) for number in range(CALLERS)]
    if not mixed:
        return [[request] for request in all_of_them]
    order = random.Random(1)
    return [order.sample(all_of_them, CALLERS) for _ in range(CALLERS)]


if __name__ == "__main__":
    for figure in measure():
        print(f"{figure.name}: {value_text(figure)}; {beside_text(figure)}")
