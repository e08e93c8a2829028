"""A handler process that dies costs its caller an error, and nobody else anything."""

import pytest
from tests.e2e.conftest import Deployer
from tests.e2e.worlds import World

FRAGILE = """
    import os, signal
    def handler(event, context):
        match event.get("end"):
            case "exit": os._exit(3)
            case "kill": os.kill(os.getpid(), signal.SIGKILL)
        return "alive"
"""


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_the_next_call_is_served(world: World, deploy: Deployer, end: str) -> None:
    function = deploy.function(FRAGILE)
    assert world.invoke(function).payload == "alive"
    answer = world.invoke(function, {"end": end})
    assert (answer.status, answer.function_error) == (200, "Unhandled")
    assert answer.payload["errorType"] == "Runtime.ExitError"
    assert world.invoke(function).payload == "alive"
