"""A queue of a real SQS server: its messages bring the function from zero, and its own rules hold for what fails."""

import json
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import boto3
import pytest
import yaml
from tests.e2e.conftest import Deployer, StreamMaker
from tests.e2e.example_code import host_seen_from
from tests.e2e.queues import PICKY
from tests.e2e.worlds import World, eventually
from tests.elasticmq.server import ElasticMq

MESSAGES = 60


class SqsQueues:
    """Queues of one server, made and looked at as their owner does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = boto3.client(
            "sqs", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )

    def new(self, **attributes: str) -> str:
        """A new queue; returns its URL."""
        name = f"q-{uuid.uuid4().hex[:8]}"
        self._client.create_queue(QueueName=name, Attributes=attributes)
        return f"{self.url}/000000000000/{name}"

    def change(self, queue: str, **attributes: str) -> None:
        self._client.set_queue_attributes(QueueUrl=queue, Attributes=attributes)

    def send(self, queue: str, *numbers: int) -> None:
        for number in numbers:
            self._client.send_message(QueueUrl=queue, MessageBody=json.dumps({"id": number}))

    def depth(self, queue: str) -> int:
        """Messages that are not deleted, at one moment."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self._client.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)


@pytest.fixture(scope="module")
def sqs(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqsQueues]:
    """A server on this machine, where the cluster's pods reach it, too."""
    server = ElasticMq(tmp_path_factory.mktemp("elasticmq"), host_seen_from(world.url))
    server.start()
    yield SqsQueues(server.url)
    server.kill()


def apply_credentials(world: World, name: str) -> None:
    """The Secret of a Trigger; it goes with the world."""
    values = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
    world.apply(yaml.safe_dump(secret))


Worker = Any


@pytest.fixture
def worker(world: World, deploy: Deployer, queues: StreamMaker) -> Worker:
    """Deploys the function; returns its name and the stream to which it says what it has seen."""

    def deployed(**spec: Any) -> tuple[str, str]:
        seen = queues.new()
        variables = {"NATS_URL": world.nats_url_of_functions, "SEEN": seen}
        spec = {"timeout": 10, "scaling": {"maxInstances": 3, "idleTimeoutSeconds": 1}, **spec}
        return deploy.function(PICKY, environment={"variables": variables}, **spec), seen

    return deployed


def test_a_backlog_is_handled_from_zero_and_back(
    world: World, deploy: Deployer, queues: StreamMaker, sqs: SqsQueues, worker: Worker
) -> None:
    function, seen = worker()
    credentials = f"s-{uuid.uuid4().hex[:8]}"
    queue = sqs.new(VisibilityTimeout="600")
    sqs.send(queue, *range(100, 100 + MESSAGES))
    apply_credentials(world, credentials)
    assert world.instances(function) == 0
    trigger = deploy.trigger(function, sqs={"queueUrl": queue, "credentialsSecret": {"name": credentials}})
    world.wait_ready("Trigger", trigger)
    eventually(lambda: sqs.depth(queue) == 0)
    assert queues.seen(seen) == {f"{seen}.{number}": 1 for number in range(100, 100 + MESSAGES)}
    world.wait_instances(function, 0)
    sqs.send(queue, 1)  # after a rest
    eventually(lambda: queues.seen(seen).get(f"{seen}.1") == 1)
    eventually(lambda: sqs.depth(queue) == 0)
    labels = {"namespace": world.namespace, "trigger": trigger, "outcome": "succeeded"}
    eventually(lambda: world.metric("funclet_messages_total", **labels) == MESSAGES + 1)


def test_what_is_named_comes_again_and_the_queues_redrive_policy_ends_it(
    deploy: Deployer, queues: StreamMaker, sqs: SqsQueues, worker: Worker
) -> None:
    function, seen = worker(timeout=5)
    dead = sqs.new()
    redrive = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:000000000000:{dead.rsplit('/', 1)[-1]}"}
    queue = sqs.new(VisibilityTimeout="5", RedrivePolicy=json.dumps({**redrive, "maxReceiveCount": "2"}))
    deploy.trigger(function, sqs={"queueUrl": queue, "functionResponseTypes": ["ReportBatchItemFailures"]})
    sqs.send(queue, 6, 7, 8)
    eventually(lambda: sqs.depth(dead) == 1)
    eventually(lambda: sqs.depth(queue) == 0)
    told = queues.seen(seen)
    assert told[f"{seen}.7"] == 2
    assert told.keys() == {f"{seen}.{number}" for number in (6, 7, 8)}


def test_a_trigger_says_what_its_queue_lacks_and_goes_on_when_that_is_there(
    world: World, deploy: Deployer, queues: StreamMaker, sqs: SqsQueues, worker: Worker
) -> None:
    function, seen = worker(timeout=10)
    queue, credentials = sqs.new(VisibilityTimeout="9"), f"s-{uuid.uuid4().hex[:8]}"
    trigger = deploy.trigger(function, sqs={"queueUrl": queue, "credentialsSecret": {"name": credentials}})

    def says(reason: str) -> bool:
        found = world.find_readiness("Trigger", trigger)
        assert found is not None
        assert found.reason == reason, found
        return True

    eventually(partial(says, "SecretNotFound"))
    apply_credentials(world, credentials)
    eventually(partial(says, "VisibilityTimeoutTooShort"))
    sqs.change(queue, VisibilityTimeout="10")
    world.wait_ready("Trigger", trigger)
    sqs.send(queue, 1)
    eventually(lambda: queues.seen(seen) == {f"{seen}.1": 1})
