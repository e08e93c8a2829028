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
    """What is measured: the server of benchmarks.servers, how many gateways, and what their callers do."""

    server: str
    gateways: int
    mixed: bool = False


LEAST = {
    "gateway_two_processes_rps": (Setup("workers", 2), 1.7),
    "gateway_three_processes_rps": (Setup("workers", 3), 2.5),
    "gateway_two_processes_mixed_rps": (Setup("workers", 2, mixed=True), 1.0),
    "gateway_two_replicas_rps": (Setup("replicas", 2), 1.2),
    "gateway_three_replicas_rps": (Setup("replicas", 3), 1.6),
}
"""How often a setup does at least what one process does with the same callers."""
FIGURES = tuple(LEAST)


@dataclass(frozen=True, slots=True)
class Round:
    """One measured run; `used` is the part of the gateways' shares of CPU that they used."""

    calls_per_second: float
    used: float


def measure() -> list[Figure]:
    """Medians over rounds that take turns."""
    setups = {Setup("workers", 1), Setup("workers", 1, mixed=True), *(setup for setup, _ in LEAST.values())}
    rounds: dict[Setup, list[Round]] = {setup: [] for setup in setups}
    with python_server("slots", CALLERS, 0) as slots:
        for _ in range(ROUNDS):
            for setup, done in rounds.items():
                done.append(run(setup, slots.ports))
    return [
        _figure(name, least, setup.gateways, rounds[setup], rounds[Setup("workers", 1, setup.mixed)])
        for name, (setup, least) in LEAST.items()
    ]


def _figure(name: str, least: float, gateways: int, rounds: Sequence[Round], alone: Sequence[Round]) -> Figure:
    rate, rate_alone = _median(rounds), _median(alone)
    why = f"{gateways * SHARE / rate * 1e6:.1f} µs of CPU a call, beside {SHARE / rate_alone * 1e6:.1f}"
    used = min(each.used for each in (*rounds, *alone))
    if used < FULL:
        why += f"; a gateway used only {used:.0%} of its CPU: the machine is too busy"
    peers = [Peer("one process", rate_alone)]
    return Figure(name, rate, "calls/s", None, peers, Budget(least, at_least=True), why=why)


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
