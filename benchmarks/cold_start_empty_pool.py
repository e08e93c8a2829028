"""Cold starts without a warm pool, over the time that Kubernetes needs for a bare pod with the same image.

The two alternate, so that both see the same machine. The value is the ratio of the medians.
"""

import uvloop

from benchmarks.bare_pods import manifest, start_seconds
from benchmarks.cluster import cluster
from benchmarks.figure import Budget, Figure, Peer
from benchmarks.phases import phases
from benchmarks.warm_path import call_each, percentile

ROUNDS = 9


def measure() -> Figure:
    """The median call over the median pod."""
    with cluster(pool=1) as world:
        functions = world.create_functions(ROUNDS, scaling={"idleTimeoutSeconds": 600})
        world.wait_pool(1)
        template = manifest(world)
        world.set_pool_size(0)
        world.wait(lambda: not world.list_pods("funclet.dev/state=generic"), "the pool to go", 60)
        waited, bare = [], []
        with phases(world) as by_phase:
            for function in functions:
                bare += start_seconds(world, template, 1)
                waited += uvloop.run(call_each(world.host, world.port, [world.request(function)]))
    median, bare_median = percentile(waited, 0.5), percentile(bare, 0.5)
    return Figure(
        "cold_start_empty_pool_vs_bare_pod",
        median / bare_median,
        "×",
        Budget(1.3),
        [Peer("a bare pod's start", 1.0)],
        why=f"{median:.2f} s against {bare_median:.2f} s",
        details={"waited_s": waited, "bare_pod_s": bare, "phases": by_phase},
    )
