"""A hundred functions called for the first time at once, with a warm pool for all of them.

The pool is there, and the machine quiet (`benchmarks/quiet.py`): what is measured is not the rest of the pool's start.
Beside it: how long Kubernetes took to start the hundred instances of that pool. `phases` is what
funclet_cold_start_seconds says.
"""

import time
from dataclasses import asdict

import uvloop

from benchmarks.cluster import cluster
from benchmarks.figure import Budget, Figure, Peer
from benchmarks.phases import phases
from benchmarks.quiet import await_quiet
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
        quiet = await_quiet()
        with phases(world) as by_phase:
            waited = uvloop.run(call_each(world.host, world.port, [world.request(one) for one in functions]))
    peers = [
        Peer("Kubernetes starting the pool's 100 pods", filled),
        Peer("Fission 1.27, 27 functions on a pool of 12: half of them", 17, "measured earlier on such a machine"),
    ]
    details = {"waited_s": sorted(waited), "phases": by_phase, "quiet": asdict(quiet)}
    p95 = percentile(waited, 0.95)
    return Figure("cold_start_100_functions_p95_s", p95, "s", Budget(1), peers, why=quiet.why, details=details)
