"""A hundred functions called for the first time at once, with a warm pool for all of them.

Beside it: how long Kubernetes took to start the hundred instances of that pool.
"""

import time

import uvloop

from benchmarks.cluster import cluster
from benchmarks.figure import Budget, Figure, Peer
from benchmarks.warm_path import call_each, percentile

FUNCTIONS = 100
FILL_SECONDS = 180


def measure() -> Figure:
    """The 95th percentile; every call must be answered."""
    with cluster(pool=FUNCTIONS) as world:
        began = time.monotonic()
        functions = world.create_functions(FUNCTIONS, scaling={"idleTimeoutSeconds": 600})
        world.wait_pool(FUNCTIONS, FILL_SECONDS)
        filled = time.monotonic() - began
        waited = uvloop.run(call_each(world.host, world.port, [world.request(one) for one in functions]))
    peers = [
        Peer("Kubernetes starting the pool's 100 pods", filled),
        Peer("Fission 1.27, 27 functions on a pool of 12: half of them", 17, "measured earlier on such a machine"),
    ]
    p95 = percentile(waited, 0.95)
    return Figure("cold_start_100_functions_p95_s", p95, "s", Budget(1), peers, details={"waited_s": sorted(waited)})
