"""One sqs Trigger's runner between a real SQS server and a server that answers as Lambda does."""

import asyncio
import contextlib
import itertools
import json
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from aiohttp import web
from tests.adapters.lambda_server import LambdaServer, fail, succeed, until
from tests.elasticmq.server import ElasticMq

from funclet.adapters.gateway_client import GatewayClient
from funclet.adapters.sqs import SqsClient
from funclet.adapters.sqs_access import SqsAccess
from funclet.api.sqs import SqsSource
from funclet.core.backoff import Backoff
from funclet.core.batching import Policy
from funclet.core.event_filter import EventFilter
from funclet.core.sqs_queue import QueueFacts, QueueProblem, SqsPlace, place_of
from funclet.events.runner import Runner, RunnerSpec

POLICY = Policy(
    batch_size=10,
    window_seconds=0,
    maximum_receives=None,
    ack_wait_seconds=0,
    redelivery=Backoff(base_seconds=0.05, cap_seconds=0.2),
)
LONG = "600"
"""A visibility timeout, in seconds, that no test lives to see."""
FIFO = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
numbers = itertools.count()


class NoSecrets:
    """A namespace without Secrets."""

    async def find_secret(self, namespace: str, name: str) -> None:
        return None


@pytest.fixture(scope="module")
def sqs_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = ElasticMq(tmp_path_factory.mktemp("elasticmq"))
    server.start()
    yield server.url
    server.kill()


@dataclass
class Bench:
    """A queue of its own, a runner over it, and what the runner says."""

    sqs: Any
    client: SqsClient
    lambdas: LambdaServer
    gateway: GatewayClient
    url: str
    name: str
    slots: int = 1
    backlogs: list[int | None] = field(default_factory=list)

    @property
    def queue_url(self) -> str:
        return f"{self.url}/000000000000/{self.name}"

    @property
    def place(self) -> SqsPlace:
        return place_of(SqsSource(queue_url=self.queue_url), "default", "us-east-1")

    @property
    def access(self) -> SqsAccess:
        return SqsAccess(NoSecrets(), self.client, "us-east-1")

    async def ask(self, action: str, **arguments: Any) -> Any:
        """boto3's answer of this queue."""
        return await asyncio.to_thread(partial(getattr(self.sqs, action), QueueUrl=self.queue_url, **arguments))

    async def make(self, **attributes: str) -> None:
        await asyncio.to_thread(self.sqs.create_queue, QueueName=self.name, Attributes=attributes)

    async def make_fifo(self, **attributes: str) -> None:
        self.name += ".fifo"
        await self.make(**FIFO, **attributes)

    async def send(self, *bodies: str, **more: Any) -> None:
        for body in bodies:
            await self.ask("send_message", MessageBody=body, **more)

    async def depths(self) -> tuple[int, int]:
        """Messages that are visible, and that are not, at one moment."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = (await self.ask("get_queue_attributes", AttributeNames=names))["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    async def count(self) -> int:
        return (await self.depths())[0]

    async def hidden(self) -> int:
        return (await self.depths())[1]

    async def is_empty(self) -> bool:
        return await self.depths() == (0, 0)

    async def receive(self) -> list[str]:
        """The bodies that another consumer gets."""
        answer = await self.ask("receive_message", WaitTimeSeconds=1, MaxNumberOfMessages=10)
        return [message["Body"] for message in answer.get("Messages", [])]

    @contextlib.asynccontextmanager
    async def running(
        self, policy: Policy = POLICY, patterns: tuple[str, ...] = (), gateway: GatewayClient | None = None
    ) -> AsyncIterator[Runner]:
        spec = RunnerSpec(f"default/{self.name}", "default/hello", 3, self.place, policy, EventFilter(patterns))
        opened = partial(self.access.open, self.place, policy)
        runner = Runner(spec, opened, gateway or self.gateway, lambda: self.slots, self.backlogs.append)
        runner.start()
        try:
            yield runner
        finally:
            await runner.stop(1)


@contextlib.asynccontextmanager
async def bench_at(url: str, polls: int = 10) -> AsyncIterator[Bench]:
    sqs = boto3.client(
        "sqs", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    client = SqsClient(polls)
    async with LambdaServer() as lambdas:
        gateway = GatewayClient(lambdas.url, "token")
        yield Bench(sqs, client, lambdas, gateway, url, f"q{next(numbers)}-{uuid.uuid4().hex[:6]}")
        await gateway.close()
    await client.close()
    sqs.close()


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor a search for them in the machine's cloud."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def bench(sqs_url: str) -> AsyncIterator[Bench]:
    async with bench_at(sqs_url) as bench:
        yield bench


async def test_a_message_is_taken_without_an_instance_and_has_lambdas_shape(bench: Bench) -> None:
    await bench.make(VisibilityTimeout=LONG)
    bench.slots = 0
    async with bench.running():
        await until(lambda: bench.backlogs[-1:] == [0])
        attributes = {
            "color": {"DataType": "String", "StringValue": "red"},
            "raw": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
        }
        await bench.send('{"id": 1}', MessageAttributes=attributes)
        await until(lambda: bench.lambdas.records)
        await until(bench.is_empty)
        await until(lambda: bench.backlogs[-1:] == [0])
    [record] = bench.lambdas.records
    assert record["body"] == '{"id": 1}'
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["messageAttributes"]["color"] == {
        "stringValue": "red", "dataType": "String", "stringListValues": [], "binaryListValues": [],
    }  # fmt: skip
    assert record["messageAttributes"]["raw"]["binaryValue"] == "AAE="
    assert record["eventSourceARN"] == f"arn:aws:sqs:us-east-1:000000000000:{bench.name}"
    assert (record["awsRegion"], record["eventSource"]) == ("us-east-1", "aws:sqs")
    assert all(record[name] for name in ("md5OfBody", "md5OfMessageAttributes", "receiptHandle"))


async def test_a_backlog_is_reported_handled_once_and_deleted(bench: Bench) -> None:
    await bench.make(VisibilityTimeout=LONG)
    bodies = [f"message {number}" for number in range(200)]
    await asyncio.gather(*(bench.send(*bodies[at::8]) for at in range(8)))
    bench.slots = 4
    async with bench.running(replace(POLICY, maximum_concurrency=3)):
        await until(lambda: len(bench.lambdas.bodies) >= 200)
        await until(bench.is_empty)
        await until(lambda: bench.backlogs[-1:] == [0])
    assert sorted(bench.lambdas.bodies) == sorted(bodies)
    assert max(len(event["Records"]) for event in bench.lambdas.events) <= 10
    assert bench.lambdas.most_running <= 3
    assert max(backlog or 0 for backlog in bench.backlogs) == 3, "no more than may run is asked for"


async def test_a_large_batch_is_gathered_within_its_window(bench: Bench) -> None:
    await bench.make(VisibilityTimeout=LONG)
    await bench.send(*map(str, range(25)))
    async with bench.running(replace(POLICY, batch_size=25, window_seconds=60)):
        await until(bench.is_empty)
    assert [len(event["Records"]) for event in bench.lambdas.events] == [25]


async def test_a_failed_batch_comes_again_after_the_queues_own_time(bench: Bench) -> None:
    await bench.make(VisibilityTimeout="1")
    bench.lambdas.handler = fail
    await bench.send("one")
    async with bench.running():
        await until(lambda: bench.lambdas.events)
        bench.lambdas.handler = succeed
        await until(bench.is_empty)
    counts = [int(record["attributes"]["ApproximateReceiveCount"]) for record in bench.lambdas.records]
    assert counts == list(range(1, len(counts) + 1))
    assert len(counts) >= 2


async def test_of_a_batch_only_what_is_named_comes_again(bench: Bench) -> None:
    await bench.make(VisibilityTimeout="6")
    await bench.send("good", "bad", "fine")

    async def refuse_bad_once(event: dict[str, Any]) -> web.Response:
        again = [
            r for r in event["Records"] if r["body"] == "bad" and r["attributes"]["ApproximateReceiveCount"] == "1"
        ]
        return web.json_response({"batchItemFailures": [{"itemIdentifier": r["messageId"]} for r in again]})

    bench.lambdas.handler = refuse_bad_once
    async with bench.running(replace(POLICY, report_failures=True)):
        await until(bench.is_empty)
    assert sorted(bench.lambdas.bodies) == ["bad", "bad", "fine", "good"]


async def test_the_queues_own_redrive_policy_makes_dead_letters(bench: Bench) -> None:
    dead = f"{bench.name}-dead"
    await asyncio.to_thread(bench.sqs.create_queue, QueueName=dead)
    redrive = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:000000000000:{dead}", "maxReceiveCount": "2"}
    await bench.make(VisibilityTimeout="1", RedrivePolicy=json.dumps(redrive))
    bench.lambdas.handler = fail
    await bench.send("poison")
    letters = replace(bench, name=dead)
    async with bench.running():
        await until(letters.count)
        await until(bench.is_empty)
    assert bench.lambdas.bodies == ["poison", "poison"]
    assert await letters.receive() == ["poison"]


async def test_a_fifo_queue_keeps_the_order_of_each_group_through_failures(bench: Bench) -> None:
    await bench.make_fifo(VisibilityTimeout="6")
    wanted = {"a": [f"a{n}" for n in range(6)], "b": [f"b{n}" for n in range(6)]}
    for group, bodies in wanted.items():
        await bench.send(*bodies, MessageGroupId=group)
    done: dict[str, list[str]] = defaultdict(list)
    running: set[str] = set()

    async def handle(event: dict[str, Any]) -> web.Response:
        groups = {record["attributes"]["MessageGroupId"] for record in event["Records"]}
        assert not groups & running, "two batches of one group at a time"
        running.update(groups)
        await asyncio.sleep(0.02)
        failed: dict[str, str] = {}
        for record in event["Records"]:
            group = record["attributes"]["MessageGroupId"]
            if record["body"] == "a2" and record["attributes"]["ApproximateReceiveCount"] == "1":
                failed[group] = record["messageId"]
            elif group not in failed:
                done[group].append(record["body"])
        running.difference_update(groups)
        return web.json_response({"batchItemFailures": [{"itemIdentifier": name} for name in failed.values()]})

    bench.lambdas.handler, bench.slots = handle, 4
    async with bench.running(replace(POLICY, batch_size=4, report_failures=True)):
        await until(bench.is_empty)
    assert done == wanted


async def test_what_passes_no_filter_is_deleted_and_wants_nothing(bench: Bench) -> None:
    await bench.make(VisibilityTimeout=LONG)
    bench.slots = 0
    await bench.send('{"kind": "old"}', "no JSON")
    async with bench.running(patterns=('{"body": {"kind": ["new"]}}',)):
        await until(bench.is_empty)
        assert bench.lambdas.events == []
        await bench.send('{"kind": "new"}')
        await until(lambda: bench.lambdas.bodies == ['{"kind": "new"}'])
        await until(bench.is_empty)


async def test_a_batch_that_takes_longer_than_the_visibility_timeout_stays_invisible(bench: Bench) -> None:
    await bench.make(VisibilityTimeout="6")

    async def handle(event: dict[str, Any]) -> web.Response:
        await asyncio.sleep(8)
        return await succeed(event)

    bench.lambdas.handler, bench.slots = handle, 2
    await bench.send("slow")
    async with bench.running():
        await until(bench.is_empty)
    assert bench.lambdas.bodies == ["slow"]


async def test_what_was_not_run_is_kept_and_counts_as_one_receive(bench: Bench) -> None:
    await bench.make(VisibilityTimeout=LONG)
    answers = iter([429, 503, 404])

    async def busy_at_first(event: dict[str, Any]) -> web.Response:
        status = next(answers, 200)
        return web.Response(status=status) if status != 200 else await succeed(event)

    bench.lambdas.handler = busy_at_first
    await bench.send("one")
    async with bench.running():
        await until(bench.is_empty)
    assert [record["attributes"]["ApproximateReceiveCount"] for record in bench.lambdas.records] == ["1"] * 4


async def test_a_gathering_that_is_stopped_gives_back_what_it_took(bench: Bench) -> None:
    await bench.make(VisibilityTimeout=LONG)
    await bench.send("one")
    async with bench.running(replace(POLICY, batch_size=100, window_seconds=300)):
        await until(bench.hidden)
    assert bench.lambdas.events == []
    await until(bench.count)
    assert await bench.receive() == ["one"]


async def test_a_poll_that_waits_when_the_trigger_ends_gives_back_what_it_brings(bench: Bench) -> None:
    await bench.make(VisibilityTimeout=LONG)
    async with bench.running():
        await until(lambda: bench.backlogs[-1:] == [0])
    await bench.send("one")
    received: list[str] = []

    async def is_received() -> bool:
        received.extend(await bench.receive())
        return received == ["one"]

    await until(is_received)
    assert bench.lambdas.events == []


async def test_many_triggers_share_few_polls(sqs_url: str) -> None:
    async with bench_at(sqs_url, polls=1) as first, contextlib.AsyncExitStack() as stack:
        benches = [replace(first, name=f"{first.name}-{number}", backlogs=[]) for number in range(3)]
        for bench in benches:
            await bench.make(VisibilityTimeout=LONG)
            await stack.enter_async_context(bench.running())
        await until(lambda: all(bench.backlogs[-1:] == [0] for bench in benches))
        for bench in benches:
            await bench.send(bench.name)
        await until(lambda: set(first.lambdas.bodies) == {bench.name for bench in benches})


async def test_a_queue_that_is_not_there_holds_nothing_and_is_then_served(bench: Bench) -> None:
    async with bench.running():
        await until(lambda: bench.backlogs[-1:] == [0])
        await bench.make(VisibilityTimeout=LONG)
        await bench.send("one")
        await until(bench.is_empty)
    assert bench.lambdas.bodies == ["one"]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ElasticMq]:
    """One that the test may stop."""
    server = ElasticMq(tmp_path)
    server.start()
    yield server
    server.kill()


async def test_a_server_that_is_away_is_unknown_and_loses_nothing(own_server: ElasticMq) -> None:
    server = own_server
    async with bench_at(server.url) as bench:
        await bench.make(VisibilityTimeout="2")
        async with bench.running():
            await until(lambda: bench.backlogs[-1:] == [0])
            await asyncio.to_thread(server.stop)
            await until(lambda: bench.backlogs[-1:] == [None])
            await asyncio.to_thread(server.start)
            await bench.send("one")
            await until(lambda: "one" in bench.lambdas.bodies)
            await until(bench.is_empty)
            await until(lambda: bench.backlogs[-1:] == [0])


async def test_a_queue_says_its_facts_or_what_is_wrong(bench: Bench) -> None:
    await bench.make(VisibilityTimeout="45")
    arn = f"arn:aws:sqs:us-east-1:000000000000:{bench.name}"
    for source in (SqsSource(queue_url=bench.queue_url), SqsSource(queue_arn=arn, endpoint_url=bench.url)):
        assert await bench.access.find(source, "default") == QueueFacts(arn, 45)
    missing = SqsSource(queue_url=f"{bench.queue_url}x")
    away = SqsSource(queue_url="http://127.0.0.1:1/000000000000/q")
    locked = SqsSource.model_validate({"queueUrl": bench.queue_url, "credentialsSecret": {"name": "keys"}})
    for source, reason in ((missing, "QueueNotFound"), (away, "Unreachable"), (locked, "SecretNotFound")):
        found = await bench.access.find(source, "default")
        assert isinstance(found, QueueProblem)
        assert found.reason == reason
