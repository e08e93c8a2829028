"""CPU of the gateway per warm invocation, in front of slots that answer at once; beside it, bare proxies.

Three processes on loopback and on one core (one_core): callers, the gateway (or a proxy), and slots. Measured is the
CPU time of all threads of the one in the middle. Each request has another invocation id, date and signature, as boto3's
have. All of them are up at once and are called in turn, for a short while each: what else the machine does meanwhile
meets all alike, and the median of the rounds leaves out what met one.

Run: python -m benchmarks.gateway_cpu [CALLS]
"""

import contextlib
import hashlib
import statistics
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence

from benchmarks.figure import Beside, Budget, Figure, Peer, Unmeasured
from benchmarks.one_core import one_core
from benchmarks.peers import haproxy, reverse_proxy
from benchmarks.processes import Child, loopback_gateway, python_server
from benchmarks.report import beside_text, value_text
from benchmarks.warm_path import REQUEST, cpu_us_per_call

CALLERS = 16
CALLS = 36_000
ROUNDS = 9
FISSION = Peer("Fission 1.27 router", 513, source="measured earlier on such a machine")


def request(number: int) -> bytes:
    """What boto3 sends for its call of this number."""
    signature = hashlib.sha256(b"%d" % number).hexdigest().encode()
    moment = b"20250101T0000%02dZ" % (number % 60)
    return (
        REQUEST.replace(b"20250101T000000Z", moment)
        .replace(b"Signature=0", b"Signature=" + signature)
        .replace(b"7c2a", str(uuid.UUID(int=number)).encode())
    )


REQUESTS = [request(number) for number in range(1000)]


@one_core()
def measure(calls: int = CALLS) -> Figure:
    """The gateway beside Go's ReverseProxy, HAProxy, and the least that Python can do."""
    peers: dict[str, Callable[[Sequence[int]], contextlib.AbstractContextManager[Child]]] = {
        "Go ReverseProxy": reverse_proxy,
        "HAProxy": haproxy,
        "bare uvloop + httptools": lambda ports: python_server("bare", *ports),
    }
    beside = Beside()
    with contextlib.ExitStack() as stack:
        slots = stack.enter_context(python_server("slots", CALLERS, 0)).ports
        servers = {"gateway": stack.enter_context(loopback_gateway("t", slots))}
        for name, start in peers.items():
            try:
                servers[name] = stack.enter_context(start(slots))
            except Unmeasured as error:
                beside.missing.append(f"without {name}: {error}")
        medians = alternate(servers, calls // ROUNDS)
    own = medians.pop("gateway")
    beside.peers += [Peer(name, value) for name, value in medians.items()]
    why = beside.why
    return Figure("gateway_cpu_us", own, "µs", Budget(25), [*beside.peers, FISSION], ratio_budget=Budget(0.7), why=why)


def alternate(servers: Mapping[str, Child], calls: int) -> dict[str, float]:
    """The median of each one's CPU microseconds a call, over the rounds."""
    rounds = [{name: cpu_us(server, calls) for name, server in servers.items()} for _ in range(ROUNDS)]
    return {name: statistics.median(spent[name] for spent in rounds) for name in servers}


def cpu_us(server: Child, calls: int) -> float:
    """CPU microseconds a call."""
    return cpu_us_per_call(lambda: server.cpu_seconds, server.port, calls, CALLERS, REQUESTS)


if __name__ == "__main__":
    figure = measure(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS)
    print(f"gateway: {value_text(figure)} of CPU per warm invocation; {beside_text(figure)}")
    sys.exit(not figure.is_within)
