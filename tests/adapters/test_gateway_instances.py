"""Instances that mean harm, or die: the caller gets Lambda's error, the function's next call and all others go on."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from tests.adapters.gateway_world import Recorder, Script, World, make_revision, running, until

from funclet.gateway import upstream
from funclet.gateway.limits import Limits
from funclet.gateway.upstream import SlotConnection

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as world:
        world.catalog.put(make_revision())
        world.catalog.put(make_revision("other"))
        world.announce(await world.slot(), function="other")
        yield world


def says(data: bytes, times: int = 1) -> Script:
    """Writes this, so many times, and then waits for what the gateway does."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(times):
            writer.write(data)
            await writer.drain()
        await reader.read(1)
        raise ConnectionResetError

    return script


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    raise ConnectionResetError


def hangs_up_after(data: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        await hang_up(reader, writer)

    return script


HARMFUL = {
    "closes": hang_up,
    "closes amid the head": hangs_up_after(OK + b"content-le"),
    "closes amid the body": hangs_up_after(OK + b"content-length: 10\r\n\r\n12345"),
    "another protocol": says(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"),
    "garbage": says(bytes(range(256)) * 400),
    "another status": says(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"),
    "a 503 of its own": says(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"),
    "a switch of protocols": says(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
    "an interim answer": says(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length: 2\r\n\r\n{}"),
    "an endless head": says(b"a: b\r\n" * 1000, times=10_000),
    "no length": says(OK + b"\r\n{}"),
    "two lengths": says(OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}"),
    "a negative length": says(OK + b"content-length: -1\r\n\r\n{}"),
    "a body longer than its length": says(OK + b"content-length: 2\r\n\r\n{} "),
    "two answers": says((OK + b"content-length: 2\r\n\r\n{}") * 2),
    "100 MB": says(OK + b"content-length: 104857600\r\n\r\n" + b"x" * 65536, times=1600),
    "a stream that nobody asked for": says(OK + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("name", HARMFUL)
async def test_a_harmful_answer_is_an_error_of_this_call_alone(world: World, name: str) -> None:
    harmful = await world.recorder(HARMFUL[name])
    instance = world.announce(harmful)
    answer = await world.invoke(1)
    assert answer.status_code == 200
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    assert answer.json()["errorType"] == "Runtime.ExitError"
    assert answer.json()["errorMessage"].startswith(f"RequestId: {answer.headers['x-amzn-requestid']} ")
    assert (harmful.bodies, harmful.strays) == ([b"1"], [])
    assert (await world.invoke(2, function="other")).json() == 2
    harmful.script = (await world.recorder()).script
    assert (await world.invoke(3)).json() == {}
    assert world.gateway.answer_budget.used_bytes == 0
    assert instance == "i2"


NOT_BEGUN = b"HTTP/1.1 503 Not Begun\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_call_that_an_instance_lost_before_it_began_is_tried_again(world: World, elsewhere: bool) -> None:
    async def lose_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first.script = fine.script
        await hangs_up_after(NOT_BEGUN)(reader, writer)

    first, fine = await world.recorder(lose_once), await world.recorder()
    world.announce(*[first, fine][: 1 + elsewhere])
    answer = await world.invoke(1)
    assert (answer.json(), answer.headers.get("x-amz-function-error")) == ({}, None)
    assert first.bodies + fine.bodies == [b"1", b"1"]
    assert len(fine.bodies) == elsewhere


async def test_a_call_is_not_given_back_twice(world: World) -> None:
    loses = await world.recorder(hangs_up_after(NOT_BEGUN))
    world.announce(loses)
    assert (await world.invoke(1)).json()["errorType"] == "Runtime.ExitError"
    assert loses.bodies == [b"1", b"1"]


async def test_an_answer_to_nothing_closes_the_connection_and_reaches_no_caller(world: World) -> None:
    async def chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"content-length: 1\r\n\r\n1")
        await answered.wait()
        writer.write(OK + b"content-length: 6\r\n\r\n666666")
        assert await reader.read(1) == b""
        raise ConnectionResetError

    answered = asyncio.Event()
    recorder = await world.recorder(chatter)
    world.announce(recorder)
    assert (await world.invoke(1)).content == b"1"
    answered.set()
    await until(lambda: recorder.running == 0)
    recorder.script = (await world.recorder()).script
    assert (await world.invoke(2)).json() == {}
    assert recorder.connections == 2


ODD = {
    "x-funclet-duration-us: -5": "x-funclet-duration-ms",
    "x-funclet-duration-us: 99999999999999999999": "x-funclet-duration-ms",
    "x-amz-log-result: a\x00b": "x-amz-log-result",
    "x-amz-log-result: a\rb: c": "x-amz-log-result",
    "x-evil: 1": "x-evil",
    "set-cookie: a=b": "set-cookie",
    "x-funclet-init-us: many": "x-funclet-init-ms",
}


@pytest.mark.parametrize("line", ODD)
async def test_no_header_of_an_instance_goes_on_unless_it_is_understood(world: World, line: str) -> None:
    world.announce(await world.recorder(hangs_up_after(OK + line.encode() + b"\r\ncontent-length: 2\r\n\r\n{}")))
    answer = await world.invoke(1)
    assert (answer.status_code, answer.json()) == (200, {})
    name = ODD[line]
    if name == "x-funclet-duration-ms":
        assert 0 <= float(answer.headers[name]) < 60_000
    else:
        assert name not in answer.headers
    assert "b" not in answer.headers


async def test_a_function_error_is_one_of_two_words(world: World) -> None:
    odd = OK + b"x-amz-function-error: <script>\r\ncontent-length: 2\r\n\r\n{}"
    world.announce(await world.recorder(hangs_up_after(odd)))
    assert (await world.invoke(1)).headers["x-amz-function-error"] == "Unhandled"


async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read(1)
    raise ConnectionResetError


async def test_an_instance_that_never_answers_is_given_up() -> None:
    """It should have said itself that the time is over; the gateway's guard says it in its place."""
    async with running(Limits(guard_seconds=-0.7)) as world:
        world.catalog.put(make_revision(timeout=1))
        recorder = await world.recorder(never)
        world.announce(recorder)
        answer = await world.invoke(1)
        assert answer.headers["x-amz-function-error"] == "Unhandled"
        assert answer.json()["errorType"] == "Sandbox.Timedout"
        assert "Task timed out after 1.00 seconds" in answer.json()["errorMessage"]
        assert int(answer.headers["x-funclet-billed-ms"]) >= 300
        await until(lambda: recorder.running == 0)
        recorder.script = (await world.recorder()).script
        world.catalog.put(make_revision(timeout=60))  # a call that is answered has time enough
        assert (await world.invoke(2)).json() == {}


async def test_the_next_call_is_not_harmed_by_the_end_of_the_connection_before(world: World) -> None:
    """A slot that answers with `connection: close` has the next call at once, on a new connection."""

    async def last_words(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.01)
        writer.write(OK + b"connection: close\r\ncontent-length: 2\r\n\r\n{}")
        await hang_up(reader, writer)

    recorder = await world.recorder(last_words)
    world.announce(recorder)
    answers = await asyncio.gather(*(world.invoke(number) for number in range(10)))
    assert [answer.headers.get("x-amz-function-error") for answer in answers] == [None] * 10
    assert sorted(recorder.bodies) == [b"%d" % number for number in range(10)]


async def test_a_call_that_met_the_end_of_a_kept_connection_runs_elsewhere_and_once(world: World) -> None:
    """The instance ends the connection in the same moment in which the gateway writes: nothing is delivered."""
    good = await world.recorder()
    world.announce(good)
    recorder = Recorder((await world.recorder()).script)
    await recorder.start()
    world.slots.append(recorder)
    world.announce(recorder)
    assert (await world.invoke("warm")).status_code == 200
    assert recorder.bodies == [b'"warm"']
    call = asyncio.create_task(world.invoke("race"))
    await recorder.stop()
    answer = await call
    assert answer.headers.get("x-amz-function-error") is None
    assert (recorder.bodies + good.bodies).count(b'"race"') == 1


async def test_a_call_that_was_read_is_never_sent_again(world: World) -> None:
    good = await world.recorder()
    world.announce(good)
    world.announce(await world.recorder(hang_up))
    assert (await world.invoke("once")).json()["errorType"] == "Runtime.ExitError"
    assert good.bodies == []


async def test_an_instance_that_takes_connections_and_no_calls_is_left_alone(world: World) -> None:
    """Its connections are closed before anything is read: three of them, and it gets nothing more."""
    good = await world.recorder()
    world.announce(good)
    closed = 0

    def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal closed
        closed += 1
        writer.transport.abort()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    door = Recorder(never)
    door.port = server.sockets[0].getsockname()[1]
    world.announce(door)
    answers = [await world.invoke(number) for number in range(8)]
    errors = [answer for answer in answers if "x-amz-function-error" in answer.headers]
    assert len(good.bodies) == len(answers) - len(errors)
    assert closed <= 8
    server.close()


async def test_a_connection_made_at_the_last_moment_is_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process that the machine leaves waiting, a connection's time is over when its call is on its way."""
    made = SlotConnection.connection_made

    def wait_long(connection: SlotConnection, transport: asyncio.BaseTransport) -> None:
        made(connection, transport)
        time.sleep(1.5)

    monkeypatch.setattr(upstream, "CONNECT_TIMEOUT_SECONDS", 1)
    monkeypatch.setattr(SlotConnection, "connection_made", wait_long)
    first, second = await world.slot(), await world.slot()
    world.announce(first, second)
    assert (await world.invoke()).status_code == 200
    assert len(first.received) + len(second.received) == 1
