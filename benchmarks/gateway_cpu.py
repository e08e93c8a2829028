"""CPU of the gateway per warm invocation, in front of slots that answer at once; beside it, bare proxies.

Three processes on loopback: callers, the gateway (or the proxy), and slots. Measured is the CPU time of all threads of
the one in the middle.

Run: python -m benchmarks.gateway_cpu [CALLS]
"""

import contextlib
import sys

from benchmarks.figure import Beside, Budget, Figure, Peer
from benchmarks.peers import haproxy, reverse_proxy
from benchmarks.processes import Child, loopback_gateway, python_server
from benchmarks.report import beside_text, value_text
from benchmarks.warm_path import cpu_us_per_call

CALLERS = 16
CALLS = 32_000
FISSION = Peer("Fission 1.27 router", 513, source="measured earlier on such a machine")


def measure(calls: int = CALLS) -> Figure:
    """The gateway beside Go's ReverseProxy, HAProxy, and the least that Python can do."""

    def cpu_us(server: contextlib.AbstractContextManager[Child]) -> float:
        with server as child:
            return cpu_us_per_call(lambda: child.cpu_seconds, child.port, calls, CALLERS)

    beside = Beside()
    with python_server("slots", CALLERS, 0) as slots:
        own = cpu_us(loopback_gateway("t", slots.ports))
        beside.add("Go ReverseProxy", lambda: cpu_us(reverse_proxy(slots.ports)))
        beside.add("HAProxy", lambda: cpu_us(haproxy(slots.ports)))
        beside.add("bare uvloop + httptools", lambda: cpu_us(python_server("bare", *slots.ports)))
    peers = [*beside.peers, FISSION]
    return Figure("gateway_cpu_us", own, "µs", Budget(25), peers, ratio_budget=Budget(0.7), why=beside.why)


if __name__ == "__main__":
    figure = measure(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS)
    print(f"gateway: {value_text(figure)} of CPU per warm invocation; {beside_text(figure)}")
    sys.exit(not figure.is_within)
