"""CPU of the gateway per warm invocation with spans of all calls exported; beside it of one in a hundred, and of none.

Three gateways in front of the same slots, called in turn, so that the machine's moods meet them alike. Measured is the
CPU time of the gateway's process, its spans' encoding and export included; the receiver takes them and does nothing.

Run: python -m benchmarks.gateway_tracing [CALLS]
"""

import contextlib
import statistics
import sys

from benchmarks.figure import Budget, Figure, Peer
from benchmarks.processes import Child, loopback_gateway, python_server
from benchmarks.report import beside_text, value_text
from benchmarks.warm_path import cpu_us_per_call

CALLERS = 16
CALLS = 16_000
ROUNDS = 5
SHARES = {"none": None, "1 % of the calls": "0.01", "all": "1"}


def measure(calls: int = CALLS) -> Figure:
    """All calls recorded, beside none and one in a hundred."""
    costs: dict[str, list[float]] = {name: [] for name in SHARES}
    with contextlib.ExitStack() as stack:
        slots = stack.enter_context(python_server("slots", CALLERS, 0))
        receiver = stack.enter_context(python_server("receiver"))
        gateways = {
            name: stack.enter_context(loopback_gateway("t", slots.ports, variables(share, receiver.port)))
            for name, share in SHARES.items()
        }
        for _ in range(ROUNDS):
            for name, child in gateways.items():
                costs[name].append(cpu_us(child, calls))
    none, few, everything = (statistics.median(costs[name]) for name in SHARES)
    peers = [Peer("none recorded", none), Peer("1 % of the calls recorded", few)]
    return Figure("gateway_tracing_cpu_us", everything, "µs", None, peers, ratio_budget=Budget(2), details=costs)


def cpu_us(child: Child, calls: int) -> float:
    """Of one gateway for each of so many calls."""
    return cpu_us_per_call(lambda: child.cpu_seconds, child.port, calls, CALLERS)


def variables(share: str | None, port: int) -> dict[str, str]:
    """The environment of a gateway that records this share of its calls."""
    if share is None:
        return {}
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": share,
    }


if __name__ == "__main__":
    figure = measure(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS)
    print(f"gateway, all calls recorded: {value_text(figure)} of CPU per warm invocation; {beside_text(figure)}")
    sys.exit(not figure.is_within)
