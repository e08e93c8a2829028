"""A handler that takes too long is ended, and the next call is served."""

from tests.e2e.conftest import Deployer
from tests.e2e.worlds import World

SLEEPY = """
    import time
    def handler(event, context):
        while event.get("sleep"):
            time.sleep(0.1)
        return "in time"
"""


def test_the_caller_gets_lambdas_error(world: World, deploy: Deployer) -> None:
    function = deploy.function(SLEEPY, timeout=1)
    answer = world.invoke(function, {"sleep": True})
    assert (answer.status, answer.function_error) == (200, "Unhandled")
    assert answer.payload["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert answer.payload["errorType"] == "Sandbox.Timedout"
    assert answer.init_ms is not None
    assert 0 <= answer.billed_ms - 1000 - answer.init_ms < 1, "the timeout, to the millisecond, and the init phase"
    assert world.invoke(function).payload == "in time"
