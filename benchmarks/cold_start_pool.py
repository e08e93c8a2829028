"""Cold starts from the warm pool on the cluster, as the caller sees them.

Fifty functions are called for the first time, one after another, each when the pool is complete again, over a
connection that is open already. Beside it: how long the programs of other frameworks take from their start to their
first answer, without any pod, scheduler or network around them. `phases` is what funclet_cold_start_seconds says.
"""

import contextlib
import sys
import time
from collections.abc import Callable

import uvloop

from benchmarks.cluster import Cluster, cluster
from benchmarks.figure import Beside, Budget, Figure, Peer
from benchmarks.peers import functions_framework, runtime_interface_client
from benchmarks.phases import phases
from benchmarks.processes import running
from benchmarks.warm_path import call_each, drive, percentile

FUNCTIONS = 50
POOL = 4
PEER_STARTS = 3
FISSION = "measured earlier on such a machine, with its own warm pool"


def measure() -> list[Figure]:
    """Median and 95th percentile."""
    with cluster(pool=POOL) as world:
        with phases(world) as by_phase:
            waited_ms = first_calls_ms(world)
        warm_ms = percentile(drive(world.port, 200, 1, [world.request("f-00000")], world.host), 0.5) * 1000
    beside = Beside()
    beside.add("Flask functions-framework, a process alone", lambda: median_ms(framework_start))
    beside.add("AWS's awslambdaric, a process alone", lambda: median_ms(client_start))
    peers = [*beside.peers, Peer("a warm call here", warm_ms)]
    p50, p95 = percentile(waited_ms, 0.5), percentile(waited_ms, 0.95)
    details = {"waited_ms": waited_ms, "phases": by_phase}
    return [
        Figure("cold_start_pool_p50_ms", p50, "ms", Budget(15), [*peers, quoted(74)], why=beside.why, details=details),
        Figure("cold_start_pool_p95_ms", p95, "ms", Budget(40), [*peers, quoted(134)]),
    ]


def quoted(milliseconds: float) -> Peer:
    """Fission's figure."""
    return Peer("Fission 1.27", milliseconds, FISSION)


def first_calls_ms(world: Cluster) -> list[float]:
    """What the first callers of the functions waited."""
    functions = world.create_functions(FUNCTIONS, scaling={"idleTimeoutSeconds": 600})
    waited = []
    for function in functions:
        world.wait_pool(POOL)
        waited += uvloop.run(call_each(world.host, world.port, [world.request(function)]))
        world.wait_labelled(function)  # until then its instance looks like one of the pool
    return [seconds * 1000 for seconds in waited]


def median_ms(start: Callable[[], None]) -> float:
    """Of a few starts."""
    taken = []
    for _ in range(PEER_STARTS):
        began = time.perf_counter()
        start()
        taken.append((time.perf_counter() - began) * 1000)
    return percentile(taken, 0.5)


def framework_start() -> None:
    """functions-framework from its command to its first answer."""
    with functions_framework() as child:
        drive(child.port, 1, 1)


def client_start() -> None:
    """awslambdaric from its command to its first response."""
    with contextlib.ExitStack() as stack:
        api = stack.enter_context(running(sys.executable, "-m", "benchmarks.servers", "runtime_api", 1))
        assert api.stdout is not None
        stack.enter_context(runtime_interface_client(int(api.stdout.readline())))
        api.stdout.readline()
