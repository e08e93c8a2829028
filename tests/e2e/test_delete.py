"""A deleted Function is gone, with its instances and its series."""

import httpx
from tests.e2e.conftest import Deployer
from tests.e2e.worlds import World, eventually


def test_a_deleted_function_is_not_found(world: World, deploy: Deployer) -> None:
    function = deploy.function("def handler(event, context): return 1", scaling={"idleTimeoutSeconds": 300})
    assert world.post(function).status_code == 200
    world.wait_instances(function, 1)
    deploy.delete("Function", function)
    eventually(lambda: world.post(function).status_code == 404)
    world.wait_instances(function, 0)
    eventually(lambda: not any(sample.labels.get("function") == function for sample in world.metrics()))


def test_a_deleted_trigger_routes_no_more(world: World, deploy: Deployer) -> None:
    function = deploy.function("def handler(event, context): return 1")
    trigger = deploy.trigger(function, http={"path": f"/{function}"})
    eventually(lambda: httpx.get(f"{world.url}/{function}", timeout=30).status_code == 200)
    deploy.delete("Trigger", trigger)
    eventually(lambda: httpx.get(f"{world.url}/{function}", timeout=30).status_code == 404)
