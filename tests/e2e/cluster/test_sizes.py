"""What a function is promised it gets: from the warm pool, from a pod of its own, or it is told why not."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.e2e.conftest import Deployer
from tests.e2e.kills import wait_for
from tests.e2e.worlds import RELEASE_NAMESPACE, ClusterWorld, eventually

TELL = """
import os
from pathlib import Path

OF_THIS_CALL = ("_X_AMZN_TRACE_ID", "AWS_LAMBDA_LOG_STREAM_NAME")

def read(*paths):
    return next((int(path.read_text()) for path in map(Path, paths) if path.exists()), None)

def handler(event, context):
    return {
        "memory": read("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        "cpu": read("/sys/fs/cgroup/cpu.weight", "/sys/fs/cgroup/cpu/cpu.shares"),
        "promised": int(context.memory_limit_in_mb),
        "environment": {name: value for name, value in os.environ.items() if name not in OF_THIS_CALL},
        "host": os.uname().nodename,
        "root": os.getuid() == 0,
        "files": sorted(os.listdir("/var/task")),
    }
"""
MIB = 1024 * 1024
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "words"}, "stringData": {"word": "secret word"}}
SPEC: dict[str, Any] = {
    "memorySize": 512,
    "environment": {"variables": {"PLAIN": "plain word"}, "secrets": {"WORD": {"name": "words", "key": "word"}}},
    "scaling": {"idleTimeoutSeconds": 30},
}
OWN_POD = {"nodeSelector": {"kubernetes.io/os": "linux"}}
"""A generic instance has no node selector, so this function gets a pod of its own."""

LARGE_MIB, ROOM_MIB = 6144, 3072


def told_by(world: ClusterWorld, function: str) -> dict[str, Any]:
    """What the function says once its size is in force, without what is different in any two instances."""

    def ask() -> dict[str, Any]:
        told: dict[str, Any] = world.invoke(function).payload
        assert told["memory"] == 512 * MIB, told["memory"]
        return told

    told = eventually(ask)
    text = json.dumps(told).replace(told["host"], "HOST").replace(function, "FUNCTION")
    plain: dict[str, Any] = json.loads(text)
    return plain


def generic_instances(world: ClusterWorld) -> set[str]:
    """What runs in the warm pool."""
    pods = world.objects("pods", world.namespace, "funclet.dev/state=generic,!funclet.dev/function")
    return {pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"}


def test_the_pool_gives_what_a_pod_of_its_own_gives(world: ClusterWorld, deploy: Deployer) -> None:
    world.apply(yaml.safe_dump(SECRET))
    pooled = deploy.function(TELL, **SPEC)
    generic = eventually(lambda: generic_instances(world))
    assert world.invoke(pooled).payload["host"] in generic
    own = deploy.function(TELL, **SPEC, pod=OWN_POD)
    from_own = told_by(world, own)

    def is_the_same() -> bool:
        assert told_by(world, pooled) == from_own  # its memory at once, its share of the CPU in a moment
        return True

    eventually(is_the_same)
    assert from_own["environment"]["PLAIN"] == "plain word"
    assert from_own["environment"]["WORD"] == "secret word"
    resources = {
        json.dumps(pod["spec"]["containers"][0]["resources"], sort_keys=True)
        for function in (pooled, own)
        for pod in world.objects("pods", world.namespace, f"funclet.dev/function={function}")
    }
    assert len(resources) == 1, resources


def mebibytes(quantity: str) -> float:
    units = {"Ki": 1 / 1024, "Mi": 1, "Gi": 1024, "M": 1e6 / MIB, "k": 1e3 / MIB}
    unit = next((unit for unit in units if quantity.endswith(unit)), "")
    return float(quantity.removesuffix(unit)) * units.get(unit, 1 / MIB)


def free_mib(world: ClusterWorld) -> float:
    """What pods may still request on the node."""
    [node] = json.loads(world.kubectl("get", "nodes", "-o", "json"))["items"]
    pods = json.loads(world.kubectl("get", "pods", "-A", "-o", "json"))["items"]
    requested = sum(
        mebibytes(container["resources"].get("requests", {}).get("memory", "0"))
        for pod in pods
        if pod["status"]["phase"] in ("Pending", "Running")
        for container in pod["spec"]["containers"]
    )
    return mebibytes(node["status"]["allocatable"]["memory"]) - requested


@pytest.fixture
def ballast(world: ClusterWorld, deploy: Deployer) -> Iterator[str]:
    """A pod that leaves little room on the node."""
    deploy.function(TELL)  # so that the namespace has a pool, whose image is at hand
    [generic, *_] = eventually(lambda: world.objects("pods", world.namespace, "funclet.dev/state=generic"))
    amount = f"{free_mib(world) - ROOM_MIB:.0f}Mi"
    container = {
        "name": "ballast",
        "image": generic["spec"]["containers"][0]["image"],
        "command": ["python3", "-c", "import signal; signal.pause()"],
        "resources": {"requests": {"memory": amount, "cpu": "1m"}},
    }
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    world.apply(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ballast"}, "spec": spec}))
    world.kubectl("wait", "-n", world.namespace, "pod/ballast", "--for=condition=Ready", "--timeout=180s")
    yield "ballast"
    world.kubectl("delete", "pod", "ballast", "-n", world.namespace, "--ignore-not-found")


def wait_told(world: ClusterWorld, function: str, lacking: str) -> None:
    """Returns when its callers hear that no node has room for it, and of what there is too little."""

    def is_told() -> bool:
        answer = world.post(function)
        assert answer.status_code == 503
        assert "Unschedulable" in answer.text
        assert f"Insufficient {lacking}" in answer.text
        return True

    eventually(is_told)


def sizes_in_force(world: ClusterWorld, function: str) -> list[float]:
    """Memory limits of the function's running containers, in MiB."""
    return [
        mebibytes(status["resources"]["limits"]["memory"])
        for pod in world.objects("pods", world.namespace, f"funclet.dev/function={function}")
        for status in pod["status"].get("containerStatuses", [])
        if "running" in status["state"]
    ]


def test_no_room_for_a_size_is_told_and_hurts_nobody_else(world: ClusterWorld, deploy: Deployer, ballast: str) -> None:
    large = deploy.function(TELL, memorySize=LARGE_MIB, scaling={"idleTimeoutSeconds": 60})
    small = deploy.function(TELL)
    wait_told(world, large, "memory")
    assert world.invoke(small).payload["promised"] == 128
    assert sizes_in_force(world, large) == []
    world.kubectl("delete", "pod", ballast, "-n", world.namespace)
    eventually(lambda: world.post(large).status_code == 200)
    eventually(lambda: sizes_in_force(world, large) == [LARGE_MIB])


LARGEST_MIB = 10_240
MIB_OF_ONE_CPU = 1769
CPU_PERCENT = "FUNCLET_CPU_REQUEST_PERCENT"


def set_cpu_percent(world: ClusterWorld, percent: str) -> None:
    world.kubectl("set", "env", "deployment/funclet-scaler", "-n", RELEASE_NAMESPACE, f"{CPU_PERCENT}={percent}")
    wait_for(world, "scaler")


@pytest.fixture
def whole_cpus(world: ClusterWorld) -> Iterator[None]:
    """Instances request the CPU that comes with their memory on Lambda, as the chart has it by default."""
    scaler = json.loads(world.kubectl("get", "deployment/funclet-scaler", "-n", RELEASE_NAMESPACE, "-o", "json"))
    environment = scaler["spec"]["template"]["spec"]["containers"][0]["env"]
    [before] = [variable["value"] for variable in environment if variable["name"] == CPU_PERCENT]
    set_cpu_percent(world, "100")
    yield
    set_cpu_percent(world, before)


@pytest.mark.usefixtures("whole_cpus")
def test_a_size_that_the_node_does_not_even_have_is_told(world: ClusterWorld, deploy: Deployer) -> None:
    """Kubernetes 1.36 refuses the resize when it is asked for, an older kubelet calls it infeasible a moment later; and
    the scheduler knows no other node."""
    small = deploy.function(TELL)
    eventually(lambda: generic_instances(world))
    [node] = json.loads(world.kubectl("get", "nodes", "-o", "json"))["items"]
    largest = deploy.function(TELL, memorySize=LARGEST_MIB, scaling={"idleTimeoutSeconds": 60})
    if int(node["status"]["capacity"]["cpu"]) > LARGEST_MIB / MIB_OF_ONE_CPU:
        assert world.invoke(largest).payload["promised"] == LARGEST_MIB
        return
    wait_told(world, largest, "cpu")
    log = world.kubectl("logs", "deployment/funclet-scaler", "-n", RELEASE_NAMESPACE)
    assert "ResizeRefused" in log or "ResizeInfeasible" in log
    assert sizes_in_force(world, largest) == []
    assert world.invoke(small).payload["promised"] == 128


HUNGRY = """
kept = bytearray(410 << 20)  # four fifths of what it was promised, on import

def handler(event, context): return len(kept)
"""
TIMES = 20


@pytest.mark.parametrize("memory_mib", [512, 2048])
def test_a_function_from_the_pool_never_has_less_than_it_was_promised(
    world: ClusterWorld, deploy: Deployer, memory_mib: int
) -> None:
    """512 MiB are in force from the beginning; for 2 GiB, which are more than an instance of the pool may take, the
    function waits."""
    amount = memory_mib * 4 // 5
    source = HUNGRY.replace("410", str(amount))
    hungry: dict[str, Any] = {"memorySize": memory_mib, "timeout": 30, "scaling": {"idleTimeoutSeconds": 1}}
    for _ in range(TIMES if memory_mib == 512 else 5):
        function = deploy.function(source, **hungry)
        eventually(lambda: generic_instances(world))
        answer = world.invoke(function)
        assert (answer.function_error, answer.payload) == (None, amount << 20)
        deploy.delete("Function", function)
