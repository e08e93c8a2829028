"""Instances that nobody uses go, and come back when they are asked for."""

import time

from tests.e2e.conftest import Deployer
from tests.e2e.worlds import World

PROCESS = """
    import os, socket
    def handler(event, context): return [socket.gethostname(), os.getpid(), os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]]
"""


def test_to_zero_and_back(world: World, deploy: Deployer) -> None:
    function = deploy.function(PROCESS, scaling={"idleTimeoutSeconds": 1})
    called = time.monotonic()
    first = world.invoke(function)
    world.wait_instances(function, 0)
    assert time.monotonic() - called >= 1
    second = world.invoke(function)
    assert second.init_ms is not None
    assert second.payload != first.payload


def test_a_running_call_is_not_idle(world: World, deploy: Deployer) -> None:
    source = """
        import time
        def handler(event, context):
            time.sleep(3)
            return "done"
    """
    function = deploy.function(source, scaling={"idleTimeoutSeconds": 1}, timeout=10)
    assert world.invoke(function).payload == "done"
