"""A function that was invoked before answers from the instance that it has."""

from tests.e2e.conftest import Deployer
from tests.e2e.worlds import World

COUNTER = """
    import os
    calls = 0
    def handler(event, context):
        global calls
        calls += 1
        return [os.getpid(), calls]
"""


def test_one_instance_serves_one_call_after_the_other(world: World, deploy: Deployer) -> None:
    function = deploy.function(COUNTER)
    answers = [world.invoke(function) for _ in range(20)]
    first_pid = answers[0].payload[0]
    assert [answer.payload for answer in answers] == [[first_pid, n] for n in range(1, 21)]
    world.wait_instances(function, 1)
    assert [answer.init_ms is not None for answer in answers] == [True] + [False] * 19
