"""InvokeWithResponseStream: instances that answer bit by bit, callers that read a stream, and who waits for whom."""

import asyncio
import base64
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.eventstream import EventStreamBuffer
from tests.adapters.gateway_world import Script, World, make_revision, running, until

from funclet.adapters.metrics import INVOCATIONS
from funclet.gateway.limits import Limits

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
PATH = "/2021-11-15/functions/hello/response-streaming-invocations"
REQUEST = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}" % PATH.encode()
MIB = 1024 * 1024


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running(Limits(read_seconds=1.5)) as world:
        world.catalog.put(make_revision())
        yield world


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def streams(*pieces: bytes, trailers: bytes = b"x-funclet-duration-us: 2500\r\n") -> Script:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"".join(map(chunk, pieces)) + b"0\r\n" + trailers + b"\r\n")
        await writer.drain()

    return script


@contextlib.contextmanager
def client_of(world: World) -> Iterator[Any]:
    client = boto3.client(
        "lambda", endpoint_url=world.url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    yield client
    client.close()


def read_events(stream: Iterator[dict[str, Any]]) -> tuple[bytes, dict[str, str]]:
    """The pieces together, and the last event."""
    events = list(stream)
    *pieces, last = events
    return b"".join(event["PayloadChunk"]["Payload"] for event in pieces), last["InvokeComplete"]


async def invoke(world: World, **more: Any) -> tuple[bytes, dict[str, str]]:
    def call() -> tuple[bytes, dict[str, str]]:
        with client_of(world) as client:
            answer = client.invoke_with_response_stream(FunctionName="hello", Payload=b"{}", **more)
            assert answer["StatusCode"] == 200
            assert answer["ExecutedVersion"] == "$LATEST"
            return read_events(answer["EventStream"])

    return await asyncio.to_thread(call)


async def test_boto3_reads_a_stream_with_its_log(world: World) -> None:
    log = base64.b64encode(b"END\n")
    recorder = await world.recorder(streams(b"one, ", b"two", trailers=b"x-amz-log-result: %b\r\n" % log))
    world.announce(recorder)
    assert await invoke(world, LogType="Tail") == (b"one, two", {"LogResult": log.decode()})
    assert (await world.invoke(1)).json()["errorType"] == "Runtime.ExitError"  # a stream that this caller cannot read
    assert recorder.strays == []


async def test_a_piece_arrives_before_the_next_one_is_made(world: World) -> None:
    arrived = threading.Event()

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(b"first"))
        await asyncio.to_thread(arrived.wait, 60)
        writer.write(chunk(b"second") + b"0\r\n\r\n")

    world.announce(await world.recorder(script))

    def call() -> list[bytes]:
        pieces = []
        with client_of(world) as client:
            for event in client.invoke_with_response_stream(FunctionName="hello")["EventStream"]:
                if "PayloadChunk" in event:
                    pieces.append(event["PayloadChunk"]["Payload"])
                    arrived.set()
        return pieces

    assert await asyncio.to_thread(call) == [b"first", b"second"]


async def test_a_function_that_answers_whole_is_one_piece(world: World) -> None:
    world.announce(await world.slot())
    assert await invoke(world) == (b"{}", {})


async def test_errors_before_and_amid_the_stream_are_in_the_last_event(world: World) -> None:
    error = b'{"errorType": "KeyError", "errorMessage": "no"}'
    trailers = b"lambda-runtime-function-error-type: KeyError\r\nlambda-runtime-function-error-body: %b\r\n"
    recorder = await world.recorder(streams(b"half", trailers=trailers % base64.b64encode(error)))
    world.announce(recorder)
    wanted = {"ErrorCode": "KeyError", "ErrorDetails": error.decode()}
    assert await invoke(world) == (b"half", wanted)

    async def whole(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\nx-amz-function-error: Unhandled\r\ncontent-length: %d\r\n\r\n" % len(error)
        writer.write(head + error)

    recorder.script = whole
    assert await invoke(world) == (b"", wanted)

    async def dies(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(b"half") + b"100\r\nonly a part")
        await writer.drain()
        raise ConnectionResetError

    recorder.script = dies
    pieces, last = await invoke(world)
    assert pieces == b"halfonly a part"
    assert last["ErrorCode"] == "Runtime.ExitError"
    assert json.loads(last["ErrorDetails"])["errorMessage"].endswith("Runtime exited without providing a reason")


async def test_what_is_refused_has_the_status_of_an_error(world: World) -> None:
    with client_of(world) as client:
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            await asyncio.to_thread(client.invoke_with_response_stream, FunctionName="nobody")
        with pytest.raises(client.exceptions.InvalidRequestContentException):
            await asyncio.to_thread(client.invoke_with_response_stream, FunctionName="hello", Payload=b"{no")
    answer = await world.http.post(PATH, content=b"{}", headers={"x-amz-invocation-type": "Event"})
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (400, "InvalidParameterValueException")
    answer = await world.http.post(PATH, content=b"{}", headers={"x-amz-invocation-type": "DryRun"})
    assert answer.status_code == 204
    assert (await world.http.get(PATH)).status_code == 404


async def test_a_caller_of_http_1_0_gets_the_events_without_chunks(world: World) -> None:
    world.announce(await world.recorder(streams(b"one, ", b"two")))
    answer = await world.raw(REQUEST.replace(b"1.1", b"1.0"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    assert [event.headers[":event-type"] for event in buffer] == ["PayloadChunk", "PayloadChunk", "InvokeComplete"]


def with_prelude(prelude: bytes, *pieces: bytes) -> Script:
    head = HEAD.replace(b"text/plain", b"application/vnd.awslambda.http-integration-response")

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in (head, chunk(prelude[:9]), chunk(prelude[9:] + bytes(3)), chunk(bytes(5) + pieces[0])):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(b"".join(map(chunk, pieces[1:])) + b"0\r\n\r\n")

    return script


async def test_a_trigger_streams_to_its_caller(world: World) -> None:
    world.catalog.put_http("hello-http", "hello", "/hello")
    recorder = await world.recorder(streams(b"one, ", b"two"))
    world.announce(recorder)
    answer = await world.http.get("/hello")
    assert (answer.status_code, answer.headers["content-type"], answer.text) == (200, "text/plain", "one, two")
    assert answer.headers["transfer-encoding"] == "chunked"
    prelude = b'{"statusCode": 201, "headers": {"X-Who": "me", "Content-Length": "5"}, "cookies": ["a=1"]}'
    recorder.script = with_prelude(prelude, b"one, ", b"two")
    answer = await world.http.get("/hello")
    assert (answer.status_code, answer.headers["x-who"], answer.text) == (201, "me", "one, two")
    assert answer.headers["set-cookie"] == "a=1"
    assert "content-length" not in answer.headers
    answer = await world.http.head("/hello")
    assert (answer.status_code, answer.headers["x-who"], answer.content) == (201, "me", b"")
    recorder.script = with_prelude(b'{"statusCode": 204}' + b" " * 20, b"nobody reads this")
    assert (await world.http.get("/hello")).status_code == 204
    recorder.script = streams(b"again")
    assert (await world.http.get("/hello")).text == "again"
    assert recorder.strays == []


@pytest.mark.parametrize(
    "prelude", [b"no JSON at all", b'["no object"]', b'{"statusCode": 99}', b'{"headers": {"a": "\\n"}}']
)
async def test_a_prelude_that_is_none_is_500(world: World, prelude: bytes) -> None:
    world.catalog.put_http("hello-http", "hello", "/hello")
    world.announce(await world.recorder(with_prelude(prelude, b"body")))
    answer = await world.http.get("/hello")
    assert (answer.status_code, answer.json()) == (500, {"message": "Internal Server Error"})


async def test_a_trigger_that_fails_half_way_cuts_the_answer_off(world: World) -> None:
    world.catalog.put_http("hello-http", "hello", "/hello")
    error = base64.b64encode(b'{"errorType": "KeyError"}')
    trailers = b"lambda-runtime-function-error-type: KeyError\r\nlambda-runtime-function-error-body: %b\r\n" % error
    recorder = await world.recorder(streams(b"half", trailers=trailers))
    world.announce(recorder)
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        await world.http.get("/hello")
    recorder.script = streams(b"whole")
    assert (await world.http.get("/hello")).text == "whole"


class Flood:
    """An instance that streams without end, and counts what it could get rid of."""

    def __init__(self) -> None:
        self.sent = 0
        self.ended = asyncio.Event()

    async def __call__(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        piece = chunk(b"x" * 65536)
        writer.write(HEAD)
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(piece)
                await writer.drain()
                self.sent += 65536
        self.ended.set()
        raise ConnectionResetError


def caller_of(world: World, room: int = 65536) -> socket.socket:
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    caller.connect(("127.0.0.1", world.gateway.port))
    caller.sendall(REQUEST)
    caller.setblocking(False)
    return caller


async def test_a_caller_that_does_not_read_stops_the_instance_and_is_cut_off(world: World) -> None:
    flood = Flood()
    world.announce(await world.recorder(flood))
    caller = caller_of(world)
    await until(lambda: flood.sent > MIB)
    await asyncio.wait_for(flood.ended.wait(), 60)
    assert flood.sent < 32 * MIB  # what lies in the sockets' buffers
    assert world.gateway.answer_budget.used_bytes == 0
    caller.close()


async def test_a_slow_caller_slows_the_instance_down(world: World) -> None:
    flood = Flood()
    world.announce(await world.recorder(flood))
    caller = caller_of(world)
    loop = asyncio.get_running_loop()
    received = 0
    while received < 8 * MIB:
        received += len(await loop.sock_recv(caller, 65536))
        assert world.gateway.answer_budget.used_bytes < 2 * MIB
    assert flood.sent - received < 32 * MIB
    caller.close()
    await asyncio.wait_for(flood.ended.wait(), 60)


async def test_a_caller_that_goes_away_ends_the_stream_and_frees_the_slot(world: World) -> None:
    flood = Flood()
    recorder = await world.recorder(flood)
    world.announce(recorder)
    caller = caller_of(world)
    await until(lambda: flood.sent > 0)
    caller.close()
    await asyncio.wait_for(flood.ended.wait(), 60)
    recorder.script = streams(b"again")
    assert await invoke(world) == (b"again", {})


async def test_a_stream_is_metered_when_it_ends(world: World) -> None:
    world.announce(await world.recorder(streams(b"x", trailers=b"x-funclet-duration-us: 2500\r\n")))
    served = INVOCATIONS.of("default/hello")
    before = served.billed_ms
    await invoke(world)
    assert served.billed_ms - before == 3


async def test_two_hundred_mebibytes_are_the_most() -> None:
    async with running() as world:
        world.catalog.put(make_revision(timeout=60))
        size, last = await stream_too_much(world)
    assert size <= 200 * MIB
    assert last["ErrorCode"] == "Runtime.ExitError"


async def stream_too_much(world: World) -> tuple[int, dict[str, str]]:
    """How much of 201 MiB a caller got, and the last event."""

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for _number in range(201):
            writer.write(chunk(b"x" * MIB))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    world.announce(await world.recorder(script))

    def call() -> tuple[int, dict[str, str]]:
        size, last = 0, {}
        with client_of(world) as client:
            for event in client.invoke_with_response_stream(FunctionName="hello")["EventStream"]:
                size += len(event["PayloadChunk"]["Payload"]) if "PayloadChunk" in event else 0
                last = event.get("InvokeComplete", {})
        return size, last

    return await asyncio.to_thread(call)
