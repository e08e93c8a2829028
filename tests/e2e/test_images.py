"""Functions that are packaged as container images, with AWS's own runtime client in them."""

from pathlib import Path
from typing import Any

import pytest
from tests.e2e import function_images
from tests.e2e.conftest import WORLD, Deployer
from tests.e2e.worlds import World, eventually

pytestmark = pytest.mark.timeout(600)
"""The first run on a machine builds the image, and installs Podman."""

SCALING = {"idleTimeoutSeconds": 5}


@pytest.fixture(scope="session")
def image() -> str:
    """The name of an image whose function does what its event says (image/app.py)."""
    return function_images.bring(Path(__file__).parent / "image", WORLD)


@pytest.fixture
def function(world: World, deploy: Deployer, image: str) -> Any:
    """Makes a Function of the image; `name` changes one that is there."""

    def make(name: str = "", uri: str = image, **spec: Any) -> str:
        return deploy.image(uri, name, **{"scaling": SCALING, **spec})

    return make


def test_it_comes_from_zero_and_goes_back(world: World, function: Any) -> None:
    name = function()
    first, second = world.invoke(name), world.invoke(name)
    assert (first.payload, second.payload) == ("in time", "in time")
    assert first.init_ms is not None
    assert second.init_ms is None
    world.wait_instances(name, 0)
    assert world.invoke(name).payload == "in time"


def test_the_container_is_told_what_lambda_tells_it(world: World, function: Any) -> None:
    name = function(
        memorySize=192,
        environment={"variables": {"RATE": "$(TZ) $$5"}},
        imageConfig={"command": ["task.app.handler"], "workingDirectory": "/var"},
    )
    seen = world.invoke(name, {"do": "look"}).payload
    expected = {
        "RATE": "$(TZ) $$5",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "192",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_REGION": "us-east-1",
        "_HANDLER": "task.app.handler",
    }
    assert {variable: seen["variables"].get(variable) for variable in expected} == expected
    assert not [variable for variable in seen["variables"] if variable.startswith(("FUNCLET_", "PYTHONPATH"))]
    assert seen["folder"] == "/var"
    assert seen["user"] != 0


def test_it_writes_to_tmp_alone(world: World, function: Any) -> None:
    name = function()
    assert world.invoke(name, {"do": "write", "to": "/tmp/x"}).payload == "in time"
    refused = world.invoke(name, {"do": "write", "to": "/var/task/x"})
    assert refused.function_error == "Unhandled"
    assert "Read-only file system" in refused.payload["errorMessage"] or "denied" in refused.payload["errorMessage"]


@pytest.mark.parametrize("end", ["exit", "eat"])
def test_the_next_call_is_served_after_a_crash(world: World, function: Any, end: str) -> None:
    name = function(timeout=60)
    assert world.invoke(name).payload == "in time"
    answer = world.invoke(name, {"do": end})
    assert (answer.status, answer.function_error) == (200, "Unhandled")
    assert answer.payload["errorType"] == "Runtime.ExitError"
    assert world.invoke(name).payload == "in time"


def test_the_next_call_is_served_after_a_timeout(world: World, function: Any) -> None:
    name = function(
        timeout=5
    )  # on Lambda, too, an init phase that follows a timeout may count as part of the next call
    assert world.invoke(name).payload == "in time"
    answer = world.invoke(name, {"do": "sleep"})
    assert answer.payload["errorType"] == "Sandbox.Timedout"
    assert answer.payload["errorMessage"].endswith("Task timed out after 5.00 seconds")
    assert world.invoke(name).payload == "in time"


def test_an_init_phase_that_fails_is_told(world: World, function: Any) -> None:
    name = function(imageConfig={"command": ["nowhere.handler"]})
    answer = world.invoke(name)
    assert answer.function_error == "Unhandled"
    assert answer.payload["errorType"] == "Runtime.ImportModuleError"


def test_callers_get_the_new_one_after_a_change(world: World, function: Any) -> None:
    name = function()
    assert world.invoke(name).payload == "in time"
    function(name, imageConfig={"command": ["app.other"]})
    eventually(lambda: world.invoke(name).payload == f"the other one of {name}")


def test_an_image_that_cannot_be_had_is_told(world: World, function: Any) -> None:
    name = function(uri="localhost:1/nowhere:1")
    answer = world.post(name)
    assert answer.status_code == 503
    assert "localhost:1/nowhere:1" in answer.text
