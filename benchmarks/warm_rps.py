"""Warm invocations a second for each core that gateway and instances use together: real gateway, real agents, loopback.

As many callers as instances, all on one core (`cores`). Counted is the CPU time of gateway, agents and handlers, not
that of the callers.

Beside it: HAProxy in front of a Flask-based functions framework, the usual way to build the same thing by hand.
"""

import contextlib
from collections.abc import Callable

from tests.runtime.agent_client import INVOKE_TOKEN, handler_pid

from benchmarks.cores import one_core
from benchmarks.figure import Beside, Budget, Figure, Peer
from benchmarks.instance_cpu import specialised_agent
from benchmarks.peers import functions_framework, haproxy
from benchmarks.processes import cpu_seconds, loopback_gateway
from benchmarks.warm_path import cpu_us_per_call

INSTANCES = 4
CALLS = 16_000
PEER_CALLS = 4000
BUDGET = (14 + 350) / (25 + 20)
"""Over HAProxy and the framework: what section 7 of the architecture measured of these, over its budgets of ours.

Calls a second are no budget: on one core with callers and other instances each finds its caches cold, and an instance
that takes 17 µs alone takes 29. The same happens to the peers.
"""
FISSION = Peer(
    "Fission 1.27", 1e6 / (513 + 149), "its router and its Python environment, measured earlier on such a machine"
)


@one_core()
def measure() -> Figure:
    """Calls a second and core."""
    beside = Beside()
    beside.add("HAProxy and functions-framework", lambda: 1e6 / usual_us())
    own = 1e6 / own_us()
    ratio_budget = Budget(BUDGET, at_least=True)
    peers = [*beside.peers, FISSION]
    return Figure("warm_rps_per_core", own, "calls/s", None, peers, ratio_budget=ratio_budget, why=beside.why)


def own_us() -> float:
    """CPU of gateway, agents and handlers for a call."""
    with contextlib.ExitStack() as stack:
        agents = [stack.enter_context(specialised_agent()) for _ in range(INSTANCES)]
        slots = [agent.slots[0] for agent in agents]
        gateway = stack.enter_context(loopback_gateway(INVOKE_TOKEN, slots))
        pids = [pid for agent in agents for pid in (agent.process.pid, handler_pid(agent))]
        return per_call(lambda: gateway.cpu_seconds + sum(map(cpu_seconds, pids)), gateway.port, CALLS)


def usual_us() -> float:
    """CPU of HAProxy and the framework's processes for a call."""
    with functions_framework() as framework, haproxy([framework.port]) as proxy:
        return per_call(lambda: framework.cpu_seconds + proxy.cpu_seconds, proxy.port, PEER_CALLS)


def per_call(spent: Callable[[], float], port: int, calls: int) -> float:
    """With as many callers as there are instances."""
    return cpu_us_per_call(spent, port, calls, INSTANCES)
