"""What the gateway adds to the time of a warm call: calls through it against calls straight to the same slots.

One caller, one call after another; rounds through the gateway, Go's ReverseProxy, HAProxy and past them alternate, so
that all see the same machine. `latency_over_load` has an open loop's percentiles at shares of the gateway's peak.
"""

import contextlib
from collections.abc import Mapping

import uvloop

from benchmarks.figure import Budget, Figure, Peer, Unmeasured
from benchmarks.load import closed_loop, invoke_target, open_loop
from benchmarks.peers import haproxy, reverse_proxy
from benchmarks.processes import loopback_gateway, python_server
from benchmarks.warm_path import WARM_UP_CALLS, drive, percentile

SLOTS = 16
ROUNDS = 8
CALLS_A_ROUND = 1000
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
SECONDS_A_SHARE = 2.0
PAYLOAD = b'{"name": "World"}'


def measure() -> list[Figure]:
    """Median and 99th percentile of what is added."""
    with contextlib.ExitStack() as stack:
        slots = stack.enter_context(python_server("slots", SLOTS, 0)).ports
        ports = {
            "direct": slots[0],
            "gateway": stack.enter_context(loopback_gateway("t", slots)).port,
        }
        missing = []
        for name, proxy in {"Go ReverseProxy": reverse_proxy, "HAProxy": haproxy}.items():
            try:
                ports[name] = stack.enter_context(proxy(slots)).port
            except Unmeasured as error:
                missing.append(f"without {name}: {error}")
        waited = alternate(ports)
        load = latency_over_load({name: ports[name] for name in ("gateway", "Go ReverseProxy") if name in ports})
    p50, p99 = added_ms(waited, 0.5), added_ms(waited, 0.99)
    details = {"latency_over_load": load}
    return [
        figure(
            "added_latency_p50_ms", p50, Budget(0.5), ratio_budget=Budget(1), why="; ".join(missing), details=details
        ),
        figure("added_latency_p99_ms", p99, Budget(2)),
    ]


def alternate(ports: Mapping[str, int]) -> dict[str, list[float]]:
    """What each call waited, in seconds."""
    waited: dict[str, list[float]] = {name: [] for name in ports}
    for port in ports.values():
        drive(port, WARM_UP_CALLS, 1)
    for _ in range(ROUNDS):
        for name, port in ports.items():
            waited[name] += drive(port, CALLS_A_ROUND, 1)
    return waited


def added_ms(waited: Mapping[str, list[float]], share: float) -> dict[str, float]:
    """This percentile through each, less the one straight to the slot."""
    direct = percentile(waited["direct"], share)
    return {name: (percentile(found, share) - direct) * 1000 for name, found in waited.items() if name != "direct"}


def figure(name: str, added: Mapping[str, float], budget: Budget, **more: object) -> Figure:
    """The gateway's, with the others beside it."""
    peers = [Peer(peer, value) for peer, value in added.items() if peer != "gateway"]
    return Figure(name, added["gateway"], "ms", budget, peers, **more)  # type: ignore[arg-type]


def latency_over_load(ports: Mapping[str, int]) -> list[dict[str, object]]:
    """At shares of the gateway's peak: the same rates for all."""
    targets = {name: invoke_target("127.0.0.1", port, "hello", PAYLOAD) for name, port in ports.items()}
    peak = uvloop.run(closed_loop(targets["gateway"], SLOTS, SECONDS_A_SHARE)).goodput
    points: list[dict[str, object]] = []
    for share in SHARES:
        for name, target in targets.items():
            tally = uvloop.run(open_loop(target, share * peak, SECONDS_A_SHARE))
            p50, p99 = (tally.latency(quantile) * 1000 for quantile in (0.5, 0.99))
            points.append({"through": name, "calls_per_s": share * peak, "p50_ms": p50, "p99_ms": p99})
    return points
