"""Resident memory of an idle generic instance on the cluster: all its processes, asked from inside its pod.

Beside it: the same of other frameworks' processes, idle before their first invocation, on this machine.
"""

import contextlib
import json
import sys

from benchmarks.cluster import Cluster, cluster
from benchmarks.figure import Beside, Budget, Figure, Peer
from benchmarks.peers import functions_framework, runtime_interface_client
from benchmarks.processes import running

READ_STATM = """
import glob, os
pages = [int(open(f"/proc/{pid}/statm").read().split()[1]) for pid in os.listdir("/proc")
         if pid.isdigit() and int(pid) != os.getpid()]
print(sum(pages) * os.sysconf("SC_PAGE_SIZE"))
"""


def measure() -> Figure:
    """The largest of the pool."""
    with cluster(pool=2) as world:
        world.create_functions(1)
        world.wait_pool(2)
        pods = [pod["metadata"]["name"] for pod in world.list_pods("funclet.dev/state=generic")]
        resident = [resident_mib(world, pod) for pod in pods]
    beside = Beside()
    beside.add("Flask functions-framework", framework_mib)
    beside.add("AWS's awslambdaric", client_mib)
    peers = [*beside.peers, Peer("Fission 1.27 Python environment", 95, "measured earlier on such a machine")]
    return Figure("idle_instance_mib", max(resident), "MiB", Budget(15), peers, why=beside.why)


def resident_mib(world: Cluster, pod: str) -> float:
    """Of all processes in the pod but the one that asks."""
    answer = world.kubectl("exec", "-n", world.namespace, pod, "--", "python3", "-I", "-c", READ_STATM)
    return int(json.loads(answer)) / 2**20


def framework_mib() -> float:
    """gunicorn's processes before their first request."""
    with functions_framework() as child:
        return child.resident_mib


def client_mib() -> float:
    """awslambdaric after its first invocations: before, it has nothing to wait for that tells that it is up."""
    with contextlib.ExitStack() as stack:
        api = stack.enter_context(running(sys.executable, "-m", "benchmarks.servers", "runtime_api", 100))
        assert api.stdout is not None
        client = stack.enter_context(runtime_interface_client(int(api.stdout.readline())))
        api.stdout.readline()
        return client.resident_mib
