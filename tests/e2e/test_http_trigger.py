"""An HTTP route gets API Gateway's payload format 2.0 in, and its response rules out."""

import httpx
import pytest
from tests.e2e.conftest import Deployer
from tests.e2e.worlds import World, eventually

ECHO = """
    def handler(event, context):
        return {
            "statusCode": 201,
            "headers": {"x-version": event["version"]},
            "body": "%s %s %s" % (
                event["requestContext"]["http"]["method"], event["pathParameters"]["id"],
                event.get("queryStringParameters", {}).get("colour")),
        }
"""


@pytest.fixture
def route(world: World, deploy: Deployer) -> str:
    """The URL of a route to ECHO, up to its path parameter."""
    function = deploy.function(ECHO)
    trigger = deploy.trigger(function, http={"path": f"/{function}/orders/{{id}}", "methods": ["GET", "POST"]})
    world.wait_ready("Trigger", trigger)
    url = f"{world.url}/{function}/orders"
    eventually(lambda: httpx.get(f"{url}/0", timeout=30).status_code == 201)
    return url


def test_path_parameter_and_query(route: str) -> None:
    answer = httpx.get(f"{route}/42?colour=green", timeout=30)
    assert (answer.status_code, answer.text) == (201, "GET 42 green")
    assert answer.headers["x-version"] == "2.0"


def test_methods_that_are_not_listed_are_not_found(route: str) -> None:
    assert httpx.post(f"{route}/1", timeout=30).status_code == 201
    assert httpx.delete(f"{route}/1", timeout=30).status_code == 404


def test_paths_that_nobody_wants_are_not_found(world: World, route: str) -> None:
    assert httpx.get(f"{route}/1/2", timeout=30).status_code == 404
    assert httpx.get(f"{world.url}/nothing/here", timeout=30).status_code == 404
