"""CPU of the gateway per warm invocation, in front of slots that answer at once; beside it, bare proxies.

Three processes on loopback: callers, the gateway (or a proxy) at full load on a core of its own (`cores`), and slots.
Measured is the CPU time of all threads of the one in the middle. Each request has another invocation id, date and
signature, as boto3's have. All of them are up at once and are called in turn, for a short while each: what else the
machine does meanwhile meets all alike, and the median of the rounds leaves out what met one.

Run: python -m benchmarks.gateway_cpu [CALLS]
"""

import contextlib
import dataclasses
import hashlib
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.cores import one_core, other_cores
from benchmarks.figure import Beside, Budget, Figure, Peer, Unmeasured
from benchmarks.peers import haproxy, reverse_proxy
from benchmarks.processes import Child, loopback_gateway, python_server
from benchmarks.report import beside_text, value_text
from benchmarks.warm_path import REQUEST, WARM_UP_CALLS, drive
from funclet.gateway import plain

CALLERS = 16
CALLS = 36_000
ROUNDS = 9
GATEWAY, BARE = "gateway", "bare uvloop + httptools"
BUDGET_US = 25
BARE_US = 14
"""What the bare proxy took on the machine for which the budget was set (section 7 of the architecture)."""
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


@other_cores()
def measure(calls: int = CALLS) -> Figure:
    """The gateway beside Go's ReverseProxy, HAProxy, and the least that Python can do."""
    starts: dict[str, Callable[[Sequence[int]], contextlib.AbstractContextManager[Child]]] = {
        GATEWAY: lambda ports: loopback_gateway("t", ports),
        "Go ReverseProxy": reverse_proxy,
        "HAProxy": haproxy,
        BARE: lambda ports: python_server("bare", *ports),
    }
    beside = Beside()
    with contextlib.ExitStack() as stack:
        slots = stack.enter_context(python_server("slots", CALLERS, 0)).ports
        servers: dict[str, Child] = {}
        for name, start in starts.items():
            try:
                with one_core():
                    servers[name] = stack.enter_context(start(slots))
            except Unmeasured as error:
                beside.missing.append(f"without {name}: {error}")
        spent = alternate(servers, calls // ROUNDS)
    own = spent.pop(GATEWAY)
    budget = Budget(BUDGET_US * max(1.0, spent[BARE].cpu_us / BARE_US))
    compiled = not str(plain.__file__).endswith(".py")
    notes = [
        f"warm path {'compiled' if compiled else 'not compiled'}",
        f"the budget is {BUDGET_US} µs where the bare proxy takes {BARE_US}",
        f"asleep {own.asleep:.0%} of the time, its core taken {own.taken:.0%}",
    ]
    beside.peers += [Peer(name, one.cpu_us) for name, one in spent.items()]
    return Figure(
        "gateway_cpu_us",
        own.cpu_us,
        "µs",
        budget,
        [*beside.peers, FISSION],
        ratio_budget=Budget(0.7),
        why="; ".join([*notes, *beside.missing]),
        details={name: dataclasses.asdict(one) for name, one in {GATEWAY: own, **spent}.items()},
    )


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU microseconds a call; the shares of the time in which the server slept, and in which others had its core."""

    cpu_us: float
    asleep: float
    taken: float


def alternate(servers: Mapping[str, Child], calls: int) -> dict[str, Spent]:
    """What each one spends, as medians of the rounds."""
    rounds = [{name: spend(server, calls) for name, server in servers.items()} for _ in range(ROUNDS)]
    return {
        name: Spent(*map(statistics.median, zip(*(spent[name] for spent in rounds), strict=True))) for name in servers
    }


def spend(server: Child, calls: int) -> tuple[float, float, float]:
    """Of one round."""
    drive(server.port, WARM_UP_CALLS, CALLERS, REQUESTS)
    before = server.cpu_seconds, server.waited_seconds, time.perf_counter()
    drive(server.port, calls, CALLERS, REQUESTS)
    after = server.cpu_seconds, server.waited_seconds, time.perf_counter()
    ran, waited, took = (end - start for start, end in zip(before, after, strict=True))
    return ran / (calls // CALLERS * CALLERS) * 1e6, 1 - (ran + waited) / took, waited / took


if __name__ == "__main__":
    figure = measure(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS)
    print(f"gateway: {value_text(figure)} of CPU per warm invocation; {beside_text(figure)}")
    sys.exit(not figure.is_within)
