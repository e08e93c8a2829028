"""A queue's messages are handled: each one, from zero, by as many instances as its depth asks for, and back to zero."""

from tests.e2e.conftest import Deployer, StreamMaker
from tests.e2e.queues import PICKY, WITNESS, Depth
from tests.e2e.worlds import World, eventually

MESSAGES = 1000
MOST_INSTANCES = 3
"""A hundred batches of 0.35 s are 3.5 instances for ten seconds: so many also when the time of a batch is known."""

WORKER = (
    WITNESS
    + """
import json, time

def handler(event, context):
    time.sleep(0.35)
    tell(f"{os.environ['SEEN']}.{json.loads(record['body'])['id']}" for record in event["Records"])
"""
)


def test_a_backlog_is_drained_from_zero_and_back(world: World, deploy: Deployer, queues: StreamMaker) -> None:
    work, seen = queues.new(), queues.new()
    queues.publish(f"{work}.new", ({"id": number} for number in range(MESSAGES)))
    function = deploy.function(
        WORKER,
        environment={"variables": {"NATS_URL": world.nats_url_of_functions, "SEEN": seen}},
        scaling={"maxInstances": MOST_INSTANCES, "idleTimeoutSeconds": 1},
        timeout=10,
    )
    assert world.instances(function) == 0
    deploy.trigger(function, jetstream={"stream": work, "subject": f"{work}.>", "batchSize": 10})

    counts = []

    def is_drained() -> bool:
        counts.append(world.instances(function))
        assert queues.depths(work) == [Depth(0, 0)]
        return True

    eventually(is_drained, seconds=180, every=0.2)
    assert max(counts) == MOST_INSTANCES
    assert queues.seen(seen) == {f"{seen}.{number}": 1 for number in range(MESSAGES)}
    world.wait_instances(function, 0)


def test_a_message_after_rest_wakes_the_function(world: World, deploy: Deployer, queues: StreamMaker) -> None:
    work, seen = queues.new(), queues.new()
    function = deploy.function(
        WORKER,
        environment={"variables": {"NATS_URL": world.nats_url_of_functions, "SEEN": seen}},
        scaling={"idleTimeoutSeconds": 1},
    )
    deploy.trigger(function, jetstream={"stream": work, "subject": f"{work}.>"})
    eventually(lambda: queues.depths(work) == [Depth(0, 0)])
    assert world.instances(function) == 0
    queues.publish(f"{work}.new", [{"id": 1}])
    eventually(lambda: queues.seen(seen) == {f"{seen}.1": 1})


def test_named_messages_come_again_and_end_as_dead_letters(world: World, deploy: Deployer, queues: StreamMaker) -> None:
    work, seen, dead = queues.new(), queues.new(), queues.new()
    function = deploy.function(
        PICKY, environment={"variables": {"NATS_URL": world.nats_url_of_functions, "SEEN": seen}}
    )
    queues.publish(f"{work}.new", ({"id": number} for number in range(10)))
    deploy.trigger(function, jetstream={
        "stream": work,
        "subject": f"{work}.>",
        "functionResponseTypes": ["ReportBatchItemFailures"],
        "maximumReceives": 2,
        "deadLetterSubject": f"{dead}.letters",
    })  # fmt: skip
    eventually(lambda: queues.seen(dead) == {f"{dead}.letters": 1})
    eventually(lambda: queues.depths(work) == [Depth(0, 0)])
    assert queues.seen(seen) == {f"{seen}.{number}": 2 if number == 7 else 1 for number in range(10)}


def test_a_trigger_waits_for_its_function(world: World, deploy: Deployer, queues: StreamMaker) -> None:
    work, seen = queues.new(), queues.new()
    queues.publish(f"{work}.new", [{"id": 1}])
    trigger = deploy.trigger("not-there-yet", jetstream={"stream": work, "subject": f"{work}.>"})
    missing = eventually(lambda: world.find_readiness("Trigger", trigger))
    assert (missing.ready, missing.reason) == (False, "FunctionNotFound")
    deploy.function(
        WORKER,
        name="not-there-yet",
        environment={"variables": {"NATS_URL": world.nats_url_of_functions, "SEEN": seen}},
    )
    world.wait_ready("Trigger", trigger)
    eventually(lambda: queues.seen(seen) == {f"{seen}.1": 1})
