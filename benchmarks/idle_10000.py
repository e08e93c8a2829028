"""What 10,000 Functions cost that nobody calls: CPU and memory of each role, and writes to the Kubernetes API.

They are created on the cluster, control makes them Ready, and then nothing happens for a while. Of that while tell the
roles' own /metrics (the process's CPU time and resident memory) and the API server's count of requests. The value is
the role that takes most. Beside it: the same role before the functions came.
"""

import time
from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.worlds import METRICS_PORT

from benchmarks.cluster import Cluster, cluster
from benchmarks.figure import Budget, Figure, Peer

FUNCTIONS = 10_000
SETTLE_SECONDS = 10
IDLE_SECONDS = 20
ROLES = ("control", "scaler", "gateway", "events")
WRITES = frozenset(("POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"))
OF_KUBERNETES = frozenset(("leases", "nodes", "tokenreviews", "subjectaccessreviews", "selfsubjectreviews", "events"))
"""Heartbeats and permissions of Kubernetes itself, which it writes with or without us."""


def measure() -> list[Figure]:
    """Three figures of the same idle time."""
    with cluster(pool=0) as world:
        empty_mib = memory_mib(world)
        began = time.monotonic()
        world.create_functions(FUNCTIONS, scaling={"idleTimeoutSeconds": 60})
        ready = time.monotonic() - began
        time.sleep(SETTLE_SECONDS)  # the last watch events are read, the garbage collected
        writes, cpu, began = api_writes(world), cpu_seconds(world), time.monotonic()
        time.sleep(IDLE_SECONDS)
        elapsed = time.monotonic() - began
        cores = {role: (spent - cpu[role]) / elapsed for role, spent in cpu_seconds(world).items()}
        written = api_writes(world) - writes
        mib = memory_mib(world)
    why = f"created and Ready in {ready:.0f} s"
    return [
        most("idle_10000_functions_cores", cores, "cores", 0.1, why=why),
        most("idle_10000_functions_mib", mib, "MiB", 300, Peer("the same role before", empty_mib[largest(mib)])),
        Figure("idle_10000_functions_api_writes", written, f"in {IDLE_SECONDS} s", Budget(0)),
    ]


def most(name: str, by_role: Mapping[str, float], unit: str, limit: float, *peers: Peer, why: str = "") -> Figure:
    """The figure of the role that takes most; the others are told beside it."""
    others = ", ".join(f"{role} {value:.3g}" for role, value in by_role.items())
    told = f"{others}; {why}" if why else others
    return Figure(name, by_role[largest(by_role)], unit, Budget(limit), peers, why=told, details=dict(by_role))


def largest(by_role: Mapping[str, float]) -> str:
    """The role that takes most."""
    return max(by_role, key=lambda role: by_role[role])


def memory_mib(world: Cluster) -> dict[str, float]:
    """Resident memory by role."""
    return {role: process_metric(world, role, "process_resident_memory_bytes") / 2**20 for role in ROLES}


def cpu_seconds(world: Cluster) -> dict[str, float]:
    """CPU time so far by role."""
    return {role: process_metric(world, role, "process_cpu_seconds_total") for role in ROLES}


def process_metric(world: Cluster, role: str, name: str) -> float:
    """One value of a role's /metrics."""
    text = httpx.get(f"http://{world.pod_address(role)}:{METRICS_PORT}/metrics", timeout=30).text
    start = text.index(f"\n{name} ") + 1
    return float(text[start:].split(maxsplit=2)[1])


def api_writes(world: Cluster) -> float:
    """Writing requests that the API server has served so far, without those of Kubernetes' own heartbeats."""
    families = text_string_to_metric_families(world.api.get("/metrics").text)
    return sum(
        sample.value
        for family in families
        if family.name == "apiserver_request"
        for sample in family.samples
        if sample.labels["verb"] in WRITES and sample.labels["resource"] not in OF_KUBERNETES
    )
