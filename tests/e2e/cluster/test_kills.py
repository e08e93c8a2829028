"""kill -9 of each role, and what architecture.md promises its users meanwhile and afterwards."""

import os
import time
from collections.abc import Iterator

import httpx
import pytest
from tests.e2e.conftest import Deployer, StreamMaker
from tests.e2e.kills import Steady, delete_pods, kill_pods, wait_for
from tests.e2e.queues import WITNESS, Depth
from tests.e2e.worlds import METRICS_PORT, RELEASE_NAMESPACE, ClusterWorld, eventually

SLOW_WITNESS = (
    WITNESS
    + """
import json, time

def handler(event, context):
    time.sleep(0.3)
    tell(f"{os.environ['SEEN']}.{json.loads(record['body'])['id']}" for record in event["Records"])
"""
)
MESSAGES = 200
SCALER_KILLS = int(os.environ.get("FUNCLET_SCALER_KILLS", "3"))
SECONDS_BETWEEN_KILLS = 10


@pytest.fixture(autouse=True)
def all_roles_up(world: ClusterWorld) -> Iterator[None]:
    """The next test finds the house complete."""
    yield
    for role in ("control", "scaler", "gateway", "events"):
        wait_for(world, role)


def test_control_dies_and_nobody_notices(world: ClusterWorld, deploy: Deployer) -> None:
    function = deploy.function("def handler(event, context): return 1", scaling={"idleTimeoutSeconds": 60})
    world.invoke(function)
    with Steady(world, function) as steady:
        kill_pods(world, "control")
        later = deploy.function("def handler(event, context): return 2")
        assert world.invoke(later).payload == 2
    assert steady.failures == []


def test_the_scaler_dies_and_warm_functions_go_on(world: ClusterWorld, deploy: Deployer) -> None:
    source = "import uuid\nname = str(uuid.uuid4())\ndef handler(event, context): return name"
    function = deploy.function(source, scaling={"idleTimeoutSeconds": 120})
    instance = world.invoke(function).payload
    with Steady(world, function) as steady:
        kill_pods(world, "scaler")
        later = deploy.function("def handler(event, context): return 2")
        assert world.invoke(later).payload == 2
        wait_for(world, "scaler")
    assert steady.failures == []
    world.wait_instances(function, 1)
    assert world.invoke(function).payload == instance


def test_a_scaler_that_dies_every_ten_seconds_fails_no_warm_call(world: ClusterWorld, deploy: Deployer) -> None:
    source = "import uuid\nname = str(uuid.uuid4())\ndef handler(event, context): return name"
    function = deploy.function(source, scaling={"idleTimeoutSeconds": 120})
    instance = world.invoke(function).payload
    others = [deploy.function(source, scaling={"idleTimeoutSeconds": 120}) for _ in range(SCALER_KILLS)]
    with Steady(world, function) as steady:
        for other in others:
            killed_at = time.monotonic()
            kill_pods(world, "scaler")
            assert world.invoke(other).status == 200
            time.sleep(max(0.0, killed_at + SECONDS_BETWEEN_KILLS - time.monotonic()))
    assert steady.failures == []
    wait_for(world, "scaler")
    for name in (function, *others):
        world.wait_instances(name, 1)
    assert world.invoke(function).payload == instance


def test_the_gateway_dies_and_comes_back(world: ClusterWorld, deploy: Deployer) -> None:
    source = "import uuid\nname = str(uuid.uuid4())\ndef handler(event, context): return name"
    function = deploy.function(source, scaling={"idleTimeoutSeconds": 120})
    instance = world.invoke(function).payload
    kill_pods(world, "gateway")
    eventually(lambda: world.post(function).status_code == 200)
    assert world.invoke(function).payload == instance


@pytest.mark.parametrize("role", ["events", "gateway", "scaler"])
def test_a_role_dies_amid_a_backlog_and_nothing_is_lost(
    world: ClusterWorld, deploy: Deployer, queues: StreamMaker, role: str
) -> None:
    work, seen = queues.new(), queues.new()
    function = deploy.function(
        SLOW_WITNESS,
        environment={"variables": {"NATS_URL": world.nats_url_of_functions, "SEEN": seen}},
        scaling={"maxInstances": 2, "idleTimeoutSeconds": 5},
        timeout=1,
    )
    queues.publish(f"{work}.new", ({"id": number} for number in range(MESSAGES)))
    deploy.trigger(function, jetstream={"stream": work, "subject": f"{work}.>", "batchSize": 10})
    eventually(lambda: len(queues.seen(seen)) >= MESSAGES // 10)
    kill_pods(world, role)
    eventually(lambda: queues.depths(work) == [Depth(0, 0)], seconds=180, every=0.2)
    assert queues.seen(seen).keys() == {f"{seen}.{number}" for number in range(MESSAGES)}


def test_an_instance_dies_and_is_replaced(world: ClusterWorld, deploy: Deployer) -> None:
    function = deploy.function("def handler(event, context): return 1", scaling={"idleTimeoutSeconds": 120})
    assert world.invoke(function).payload == 1
    world.wait_instances(function, 1)
    delete_pods(world, world.namespace, f"funclet.dev/function={function}")
    eventually(lambda: world.invoke(function).payload == 1)


def test_every_role_says_that_it_is_alive(world: ClusterWorld) -> None:
    for role in ("control", "scaler", "gateway", "events"):
        for pod in world.objects("pods", RELEASE_NAMESPACE, f"app.kubernetes.io/component={role}"):
            answer = httpx.get(f"http://{pod['status']['podIP']}:{METRICS_PORT}/readyz", timeout=10)
            assert answer.status_code == 200, role
