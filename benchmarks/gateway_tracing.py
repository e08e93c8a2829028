"""CPU of the gateway per warm invocation with spans of all calls exported, and with those of one in a hundred.

Beside them that of a gateway that records none. Three gateways at full load on a core of its own (`cores`), in front of
the same slots, called in turn, so that the machine's moods meet them alike. Measured is the CPU time of the gateway's
process, its spans' encoding and export included; the receiver takes them and does nothing.

Run: python -m benchmarks.gateway_tracing [CALLS]
"""

import contextlib
import dataclasses
import sys
from collections.abc import Sequence

from benchmarks.cores import one_core, other_cores
from benchmarks.figure import Budget, Figure, Peer
from benchmarks.gateway_cpu import CALLERS, ROUNDS, alternate
from benchmarks.processes import loopback_gateway, python_server
from benchmarks.report import beside_text, value_text

CALLS = 90_000
SHARES = (None, "0.01", "1")
FIGURES = ("gateway_tracing_cpu_us", "gateway_tracing_sampled_cpu_us")


@other_cores()
def measure(calls: int = CALLS) -> Sequence[Figure]:
    """All calls recorded, and one in a hundred, beside none."""
    with contextlib.ExitStack() as stack:
        slots = stack.enter_context(python_server("slots", CALLERS, 0))
        receiver = stack.enter_context(python_server("receiver"))
        with one_core():
            gateways = {
                str(share): stack.enter_context(loopback_gateway("t", slots.ports, variables(share, receiver.port)))
                for share in SHARES
            }
        spent = alternate(gateways, calls // ROUNDS)
    none, few, every = (spent[str(share)].cpu_us for share in SHARES)
    details = {name: dataclasses.asdict(one) for name, one in spent.items()}
    peers = [Peer("none recorded", none)]
    return (
        Figure(FIGURES[0], every, "µs", None, peers, ratio_budget=Budget(1.6), details=details),
        Figure(FIGURES[1], few, "µs", None, peers, ratio_budget=Budget(1.1)),
    )


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
    figures = measure(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS)
    for figure, what in zip(figures, ("all calls", "one call in a hundred"), strict=True):
        print(f"gateway, {what} recorded: {value_text(figure)} of CPU per warm invocation; {beside_text(figure)}")
    sys.exit(not all(figure.is_within for figure in figures))
