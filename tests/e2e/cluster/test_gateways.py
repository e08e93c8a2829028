"""Two gateways, and two of two processes each: exact limits over all, a death that moves functions, an end that nobody
notices, and connections that go where their functions are at home."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from tests.e2e.conftest import Deployer
from tests.e2e.kills import Steady, kill_processes, wait_for
from tests.e2e.worlds import RELEASE_NAMESPACE, ClusterWorld, eventually

SELECTOR = "app.kubernetes.io/component=gateway"
WITNESS = """
import time, uuid
instance = str(uuid.uuid4())

def handler(event, context):
    begin = time.time()
    time.sleep(event.get("seconds", 0.05))
    return [instance, begin, time.time()]
"""
FUNCTIONS = 6
HTTP = httpx.Client(limits=httpx.Limits(max_connections=64, max_keepalive_connections=0))


def scale(world: ClusterWorld, replicas: int) -> None:
    world.kubectl("scale", "deployment/funclet-gateway", "-n", RELEASE_NAMESPACE, f"--replicas={replicas}")
    wait_for(world, "gateway")


def addresses(world: ClusterWorld) -> list[str]:
    """Of the gateways' pods: each can be asked by itself."""
    return sorted(pod["status"]["podIP"] for pod in world.objects("pods", RELEASE_NAMESPACE, SELECTOR))


def peers(world: ClusterWorld) -> list[int]:
    """How many others each gateway has last said that it knows of."""
    pods = [pod["metadata"]["name"] for pod in world.objects("pods", RELEASE_NAMESPACE, SELECTOR)]
    logs = [world.kubectl("logs", "-n", RELEASE_NAMESPACE, name) for name in pods]
    last = [[line for line in log.splitlines() if '"message": "peers"' in line][-1:] for log in logs]
    return [line[0].count("#") if line else 0 for line in last]


@pytest.fixture(scope="module", autouse=True)
def two_gateways(world: ClusterWorld) -> Iterator[None]:
    scale(world, 2)
    eventually(lambda: peers(world) == [2, 2], every=0.5)
    yield
    scale(world, 1)


def post(world: ClusterWorld, address: str, function: str, payload: dict[str, Any] | None = None) -> httpx.Response:
    url = f"http://{address}:8080/namespaces/{world.namespace}/2015-03-31/functions/{function}/invocations"
    return HTTP.post(url, json=payload or {}, timeout=httpx.Timeout(60, connect=5))


def until_answered(world: ClusterWorld, address: str, function: str) -> httpx.Response:
    """What was on its way when the home died may fail; then it is asked again."""
    return eventually(lambda: answer if (answer := post(world, address, function)).status_code == 200 else None)


def assert_no_slot_was_shared(answers: list[list[Any]]) -> None:
    """Two invocations of one instance, which has one slot, never overlapped."""
    runs = defaultdict(list)
    for instance, begin, end in answers:
        runs[instance].append((begin, end))
    for times in runs.values():
        for (_, end), (begin, _) in itertools.pairwise(sorted(times)):
            assert end <= begin


@pytest.fixture
def two_processes_each(world: ClusterWorld) -> Iterator[None]:
    set_processes(world, 2)
    yield
    set_processes(world, 1)


def set_processes(world: ClusterWorld, count: int) -> None:
    """Restart the pods with so many gateways in each."""
    world.kubectl("set", "env", "deployment/funclet-gateway", "-n", RELEASE_NAMESPACE, f"FUNCLET_PROCESSES={count}")
    wait_for(world, "gateway")
    eventually(lambda: peers(world) == [2 * count] * 2, every=0.5)


def assert_reserved_concurrency_is_exact(world: ClusterWorld, deploy: Deployer) -> None:
    function = deploy.function(WITNESS, timeout=20, reservedConcurrentExecutions=3, scaling={"idleTimeoutSeconds": 10})
    both = addresses(world)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: post(world, both[n % 2], function, {"seconds": 8}), range(12)))
    assert Counter(answer.status_code for answer in answers) == {200: 3, 429: 9}
    assert_no_slot_was_shared([answer.json() for answer in answers if answer.status_code == 200])


def test_reserved_concurrency_is_exact_over_both(world: ClusterWorld, deploy: Deployer) -> None:
    assert_reserved_concurrency_is_exact(world, deploy)


def test_a_gateway_that_is_killed_leaves_its_functions_to_the_other(world: ClusterWorld, deploy: Deployer) -> None:
    limits = {"maxInstances": 2, "idleTimeoutSeconds": 60}
    functions = [deploy.function(WITNESS, timeout=10, scaling=limits) for _ in range(FUNCTIONS)]
    victim, survivor = world.objects("pods", RELEASE_NAMESPACE, SELECTOR)
    address = survivor["status"]["podIP"]
    warm = [post(world, victim["status"]["podIP"], function).json() for function in functions]
    kill_processes(world, RELEASE_NAMESPACE, SELECTOR, victim["metadata"]["name"])
    with ThreadPoolExecutor(FUNCTIONS * 3) as pool:
        first = list(pool.map(lambda function: until_answered(world, address, function), functions))
        more = list(pool.map(lambda function: post(world, address, function), functions * 3))
    assert {answer.status_code for answer in more} == {200}
    assert_no_slot_was_shared([answer.json() for answer in first + more])
    assert {instance for instance, *_ in warm} <= {answer.json()[0] for answer in first + more}, "warm instances go on"


def test_a_rolling_restart_fails_no_call(world: ClusterWorld, deploy: Deployer) -> None:
    functions = [deploy.function(WITNESS, timeout=10, scaling={"idleTimeoutSeconds": 120}) for _ in range(FUNCTIONS)]
    for function in functions:
        world.invoke(function)
    with ExitStack() as stack:
        callers = [stack.enter_context(Steady(world, function)) for function in functions]
        eventually(lambda: all(caller.statuses[200] > 20 for caller in callers))
        world.kubectl("rollout", "restart", "deployment/funclet-gateway", "-n", RELEASE_NAMESPACE)
        wait_for(world, "gateway")
        eventually(lambda: len(world.objects("pods", RELEASE_NAMESPACE, SELECTOR)) == 2)
        before = [caller.statuses[200] for caller in callers]
        eventually(lambda: all(c.statuses[200] > b + 20 for c, b in zip(callers, before, strict=True)))
    assert [failure for caller in callers for failure in caller.failures] == []


def test_processes_hand_connections_over_and_are_exact_too(
    world: ClusterWorld, deploy: Deployer, two_processes_each: None
) -> None:
    functions = [deploy.function(WITNESS, scaling={"idleTimeoutSeconds": 60}) for _ in range(FUNCTIONS)]

    def call(address: str, function: str) -> list[httpx.Response]:
        """On one connection."""
        url = f"http://{address}:8080/namespaces/{world.namespace}/2015-03-31/functions/{function}/invocations"
        with httpx.Client(timeout=60) as own:
            return [own.post(url, json={"seconds": 0.01}) for _ in range(5)]

    connections = [(address, function) for address in addresses(world) for function in functions for _ in range(4)]
    with ThreadPoolExecutor(len(connections)) as pool:
        answers = [answer for done in pool.map(lambda one: call(*one), connections) for answer in done]
    assert {answer.status_code for answer in answers} == {200}
    assert_no_slot_was_shared([answer.json() for answer in answers])
    handed = [one.value for one in world.metrics() if one.name == "funclet_connections_handed_over_total"]
    assert sum(handed) > 0
    assert_reserved_concurrency_is_exact(world, deploy)
