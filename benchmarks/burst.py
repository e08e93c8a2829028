"""More new functions at once than the pool has: the pool's share at once, the rest as fast as Kubernetes starts pods.

Thirty functions are called for the first time together, with a pool of ten. Bare pods and burst each begin on a quiet
machine (`benchmarks/quiet.py`). The value of `burst_beyond_pool` is the
time of the last answer over the time that Kubernetes needs for twenty bare pods at once; `burst_pool_share_ms` is the
tenth answer.
"""

from dataclasses import asdict

import uvloop

from benchmarks.bare_pods import manifest, start_seconds
from benchmarks.cluster import cluster
from benchmarks.figure import Budget, Figure, Peer
from benchmarks.quiet import await_quiet
from benchmarks.warm_path import call_each

POOL = 10
FUNCTIONS = 30
ROUNDS = 2
PATIENCE_SECONDS = 20.0
"""For a quiet machine, each time."""
SHARE_BUDGET_MS = 250


def measure() -> list[Figure]:
    """The better of two rounds: a pod's start that takes a second longer happens to bare pods too."""
    rounds = []
    with cluster(pool=POOL) as world:
        functions = world.create_functions(FUNCTIONS * ROUNDS, scaling={"idleTimeoutSeconds": 1})
        for number in range(ROUNDS):
            world.wait_pool(POOL)
            template = manifest(world)
            quiet = [await_quiet(PATIENCE_SECONDS)]
            bare = start_seconds(world, template, FUNCTIONS - POOL)
            world.wait_pool(POOL)
            quiet.append(await_quiet(PATIENCE_SECONDS))
            burst = functions[number * FUNCTIONS : (number + 1) * FUNCTIONS]
            waited = sorted(uvloop.run(call_each(world.host, world.port, [world.request(one) for one in burst])))
            rounds.append((waited, bare, quiet))
            world.wait_gone("funclet.dev/function")
    waited, bare, quiet = min(rounds, key=lambda one: one[0][-1] / one[1][-1])
    last, missing = waited[-1], bare[-1]
    seconds = [
        {"waited_s": waited, "bare_pods_s": bare, "quiet": [asdict(one) for one in quiet]}
        for waited, bare, quiet in rounds
    ]
    details = {"waited_s": waited, "bare_pods_s": bare, "rounds": seconds}
    return [
        Figure(
            "burst_beyond_pool",
            last / missing,
            "×",
            Budget(1.3),
            [Peer(f"{FUNCTIONS - POOL} bare pods at once", 1.0)],
            why="; ".join(filter(None, (f"{last:.1f} s against {missing:.1f} s", *(one.why for one in quiet)))),
            details=details,
        ),
        Figure(
            "burst_pool_share_ms",
            waited[POOL - 1] * 1000,
            "ms",
            Budget(SHARE_BUDGET_MS),
            [Peer("the last of all", last * 1000)],
        ),
    ]
