"""A schedule invokes its function when it is due, from zero; one that cannot be understood says what is wrong."""

from tests.e2e.conftest import Deployer, StreamMaker
from tests.e2e.queues import WITNESS
from tests.e2e.worlds import World, eventually

TELLING = WITNESS + "\ndef handler(event, context): tell([f\"{os.environ['SEEN']}.{event['n']}\"])"


def test_a_function_at_zero_is_invoked_when_it_is_due(world: World, deploy: Deployer, queues: StreamMaker) -> None:
    """A rate is due at once when it is made, and then a day later."""
    seen = queues.new()
    variables = {"NATS_URL": world.nats_url_of_functions, "SEEN": seen}
    function = deploy.function(TELLING, environment={"variables": variables}, scaling={"idleTimeoutSeconds": 1})
    assert world.instances(function) == 0
    trigger = deploy.trigger(function, schedule={"scheduleExpression": "rate(1 day)", "input": '{"n": 1}'})
    eventually(lambda: queues.seen(seen) == {f"{seen}.1": 1})
    world.wait_ready("Trigger", trigger)
    world.wait_instances(function, 0)
    assert queues.seen(seen) == {f"{seen}.1": 1}


def test_an_expression_that_cannot_be_understood_is_said(world: World, deploy: Deployer) -> None:
    function = deploy.function("def handler(event, context): return 'never'")
    trigger = deploy.trigger(function, schedule={"scheduleExpression": "cron(0 24 * * ? *)"})

    def is_said() -> bool:
        readiness = world.find_readiness("Trigger", trigger)
        assert readiness is not None
        assert readiness.reason == "InvalidSpec"
        assert "24 is no value of hours: it takes 0 to 23" in readiness.message
        return True

    eventually(is_said)
