"""Warm invocations a second for each core that gateway and instances use together: real gateway, real agents, loopback.

As many callers as instances, all on one core (`cores`). Counted is the CPU time of gateway, agents and handlers, not
that of the callers.

Beside it, in turn: the least that Python can do for it, a bare proxy and minimal loops; and HAProxy in front of a
Flask-based functions framework, the usual way to build the same thing by hand.

Run: python -m benchmarks.warm_rps [CALLS]
"""

import contextlib
import statistics
import sys
from collections.abc import Callable, Iterator

from tests.runtime.agent_client import INVOKE_TOKEN, handler_pid

from benchmarks.cores import one_core
from benchmarks.figure import Beside, Budget, Figure, Peer
from benchmarks.instance_cpu import minimal_server, specialised_agent
from benchmarks.peers import functions_framework, haproxy
from benchmarks.processes import cpu_seconds, loopback_gateway, python_server
from benchmarks.report import beside_text, value_text
from benchmarks.warm_path import cpu_us_per_call

INSTANCES = 4
CALLS = 20_000
ROUNDS = 5
PEER_CALLS = 4000
BUDGET = (14 + 10.5) / (25 + 20)
"""Over a bare proxy and minimal loops: what section 7 of the architecture measured of these (14 µs, and 9 to 12), over
its budgets for the gateway and the instance.

Calls a second are no budget. Six processes on one core find their caches cold, whoever they are: an instance that takes
17 µs alone takes 29 then, a minimal loop that takes 12 takes 18.
"""
FISSION = Peer(
    "Fission 1.27", 1e6 / (513 + 149), "its router and its Python environment, measured earlier on such a machine"
)

Server = tuple[int, Callable[[], float]]
"""Its port, and the CPU seconds so far of all that answer."""


@one_core()
def measure(calls: int = CALLS) -> Figure:
    """Calls a second and core."""
    with own() as ours, bare() as least:
        rounds = [[per_second(server, calls // ROUNDS) for server in (ours, least)] for _ in range(ROUNDS)]
    value, minimal = map(statistics.median, zip(*rounds, strict=True))
    beside = Beside()
    beside.add("HAProxy and functions-framework", usual)
    peers = [Peer("bare proxy and minimal loops", minimal), *beside.peers, FISSION]
    ratio_budget = Budget(BUDGET, at_least=True)
    return Figure("warm_rps_per_core", value, "calls/s", None, peers, ratio_budget=ratio_budget, why=beside.why)


@contextlib.contextmanager
def own() -> Iterator[Server]:
    """The gateway in front of real instances."""
    with contextlib.ExitStack() as stack:
        agents = [stack.enter_context(specialised_agent()) for _ in range(INSTANCES)]
        gateway = stack.enter_context(loopback_gateway(INVOKE_TOKEN, [agent.slots[0] for agent in agents]))
        pids = [pid for agent in agents for pid in (agent.process.pid, handler_pid(agent))]
        yield gateway.port, lambda: gateway.cpu_seconds + sum(map(cpu_seconds, pids))


@contextlib.contextmanager
def bare() -> Iterator[Server]:
    """The bare proxy in front of minimal loops."""
    with contextlib.ExitStack() as stack:
        loops = [stack.enter_context(minimal_server()) for _ in range(INSTANCES)]
        proxy = stack.enter_context(python_server("bare", *(loop.port for loop in loops)))
        yield proxy.port, lambda: proxy.cpu_seconds + sum(loop.cpu_seconds for loop in loops)


def usual() -> float:
    """HAProxy in front of the framework's processes."""
    with functions_framework() as framework, haproxy([framework.port]) as proxy:
        return per_second((proxy.port, lambda: framework.cpu_seconds + proxy.cpu_seconds), PEER_CALLS)


def per_second(server: Server, calls: int) -> float:
    """Calls for each second of CPU, with as many callers as there are instances."""
    port, spent = server
    return 1e6 / cpu_us_per_call(spent, port, calls, INSTANCES)


if __name__ == "__main__":
    figure = measure(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS)
    print(f"{value_text(figure)} and core; {beside_text(figure)}")
    sys.exit(not figure.is_within)
