"""Destinations against real servers: a queue of moto's SQS server, and an HTTP server."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import boto3
import pytest
from aiohttp import web
from moto.server import ThreadedMotoServer
from tests.adapters.lambda_server import LambdaServer

from funclet.adapters.destinations import Destinations, Parcel
from funclet.adapters.event_store import EventStore
from funclet.adapters.jetstream import connect
from funclet.api.event_invoke import Destination
from funclet.errors import Unavailable

RECORD = {"version": "1.0", "requestPayload": {"a": "ü"}}
ATTRIBUTES = {"RequestID": "e4b46cbf", "ErrorCode": "200", "ErrorMessage": "no luck"}
PARCEL = Parcel("e4b46cbf/onFailure", "default", json.dumps(RECORD).encode(), ATTRIBUTES)


@pytest.fixture(scope="module")
def sqs_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def sqs(sqs_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """boto3's client of that server; the destinations have credentials in their environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    client = boto3.client(
        "sqs", endpoint_url=sqs_url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    yield client
    client.close()


@pytest.fixture
async def destinations(nats_url: str) -> AsyncIterator[Destinations]:
    client = await connect(nats_url)
    destinations = Destinations(EventStore(client), (), {}, "us-east-1")
    yield destinations
    await destinations.close()
    await client.close()


async def receive(sqs: Any, queue_url: str) -> dict[str, Any]:
    answer = await asyncio.to_thread(
        sqs.receive_message, QueueUrl=queue_url, MessageAttributeNames=["All"], WaitTimeSeconds=5
    )
    [message] = answer["Messages"]
    return dict(message)


async def test_a_queue_gets_the_record_and_its_attributes(sqs: Any, destinations: Destinations) -> None:
    queue_url = (await asyncio.to_thread(sqs.create_queue, QueueName="records"))["QueueUrl"]
    await destinations.deliver(Destination(sqs_queue_url=queue_url), PARCEL)
    message = await receive(sqs, queue_url)
    assert json.loads(message["Body"]) == RECORD
    assert {name: value["StringValue"] for name, value in message["MessageAttributes"].items()} == ATTRIBUTES
    assert message["MessageAttributes"]["ErrorCode"]["DataType"] == "Number"
    await asyncio.to_thread(sqs.delete_queue, QueueUrl=queue_url)


async def test_a_fifo_queue_takes_a_dead_letter_once(sqs: Any, destinations: Destinations) -> None:
    created = await asyncio.to_thread(sqs.create_queue, QueueName="letters.fifo", Attributes={"FifoQueue": "true"})
    queue_url = created["QueueUrl"]
    for _ in range(2):
        await destinations.deliver(Destination(sqs_queue_url=queue_url), PARCEL)
    await receive(sqs, queue_url)
    attributes = await asyncio.to_thread(
        sqs.get_queue_attributes, QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    assert attributes["Attributes"]["ApproximateNumberOfMessages"] == "0"
    await asyncio.to_thread(sqs.delete_queue, QueueUrl=queue_url)


async def test_a_queue_that_is_not_there_is_said_so(sqs_url: str, sqs: Any, destinations: Destinations) -> None:
    with pytest.raises(Unavailable, match="nowhere"):
        await destinations.deliver(Destination(sqs_queue_url=f"{sqs_url}/123456789012/nowhere"), PARCEL)


async def test_a_server_that_answers_but_not_as_sqs_is_not_believed(
    sqs_url: str, destinations: Destinations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto knows SQS by the signature: without credentials the request is not signed, and S3 answers it with 200."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Unavailable, match="did not answer as SQS does"):
        await destinations.deliver(Destination(sqs_queue_url=f"{sqs_url}/123456789012/records"), PARCEL)


async def test_an_endpoint_gets_the_record(destinations: Destinations) -> None:
    async with LambdaServer() as server:
        await destinations.deliver(Destination(url=f"{server.url}/records"), PARCEL)
    assert server.events == [RECORD]
    assert server.paths == {"/records"}
    [headers] = server.headers
    assert headers["content-type"] == "application/json"
    assert headers["x-funclet-delivery-id"] == "e4b46cbf/onFailure"
    assert headers["errormessage"] == "no luck"


@pytest.mark.parametrize("status", [301, 404, 500])
async def test_an_endpoint_that_does_not_accept_gets_it_again_later(destinations: Destinations, status: int) -> None:
    async def answer(_: Any) -> web.Response:
        return web.Response(status=status, headers={"location": "/other"})

    async with LambdaServer(answer) as server:
        with pytest.raises(Unavailable, match=str(status)):
            await destinations.deliver(Destination(url=server.url), PARCEL)
        assert len(server.events) == 1


async def test_an_endpoint_that_is_not_there_is_said_so(destinations: Destinations) -> None:
    with pytest.raises(Unavailable, match="did not answer"):
        await destinations.deliver(Destination(url="http://127.0.0.1:1/"), PARCEL)


async def test_a_subject_that_no_stream_holds_is_said_so(destinations: Destinations) -> None:
    with pytest.raises(Unavailable):
        await destinations.deliver(Destination(subject="nobody.listens"), PARCEL)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"function": "a", "url": "http://x"},
        {"subject": "funclet.events.other.victim"},
        {"subject": "$JS.API.STREAM.DELETE.X"},
        {"subject": "_INBOX.x"},
        {"subject": "orders.>"},
        {"url": "ftp://x"},
        {"function": "not/a/name"},
    ],
)
def test_what_is_no_destination(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"destination|pattern"):
        Destination.model_validate(fields)
