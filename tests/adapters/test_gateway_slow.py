"""Callers that are slow or hold too much: each waits for its own bound, and nobody else waits with it."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator

import pytest
from tests.adapters.gateway_world import Recorder, World, make_revision, running, until

from funclet.gateway.call import Request
from funclet.gateway.client import ClientProtocol
from funclet.gateway.limits import Limits
from funclet.gateway.reading import RequestReader

POST = b"POST /2015-03-31/functions/hello/invocations HTTP/1.1\r\nhost: x\r\n"
MIB = 1024 * 1024
SHORT = Limits(
    head_seconds=0.4, body_gap_seconds=0.4, body_seconds=1.5, read_seconds=1.5, idle_seconds=0.8, linger_seconds=0.2
)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running(SHORT) as world:
        world.catalog.put(make_revision())
        yield world


async def connect(world: World) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", world.gateway.port)


async def drip(writer: asyncio.StreamWriter, data: bytes, seconds: float) -> None:
    """Byte by byte, until the other end is gone."""
    for byte in data:
        if writer.transport.is_closing():
            return
        writer.write(bytes((byte,)))
        await asyncio.sleep(seconds)


async def refusal(world: World, start: bytes, dripped: bytes = b"") -> bytes:
    """What comes of a request that begins like this and goes on one byte every 50 ms."""
    reader, writer = await connect(world)
    writer.write(start)
    dripping = asyncio.create_task(drip(writer, dripped, 0.05))
    answer = await asyncio.wait_for(reader.read(), 60)
    dripping.cancel()
    writer.close()
    return answer


TOO_SLOW = {
    "a head that stops": (b"POST /", b""),
    "a head that drips": (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 100),
    "a body that never begins": (POST + b"content-length: 5\r\n\r\n", b""),
    "a body that stops": (POST + b"content-length: 5\r\n\r\n12", b""),
    "a body that drips": (POST + b"content-length: 500\r\n\r\n", b"1" * 500),
    "a chunk that never comes": (POST + b"transfer-encoding: chunked\r\n\r\n5\r\n12", b""),
    "a chunk extension that drips": (POST + b"transfer-encoding: chunked\r\n\r\n1;", b"a" * 100),
    "trailers that drip": (POST + b"transfer-encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n", b"a: b\r\n" * 100),
}


@pytest.mark.parametrize("name", TOO_SLOW)
async def test_a_slow_request_is_408_and_closed(world: World, name: str) -> None:
    recorder = await world.recorder()
    world.announce(recorder)
    answer = await refusal(world, *TOO_SLOW[name])
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b'{"message": "Request Timeout"}')
    assert (recorder.bodies, recorder.strays) == ([], [])
    assert (await world.invoke(1)).status_code == 200


@pytest.mark.parametrize("start", [b"", b"\r\n\r\n", POST + b"content-length: 1\r\n\r\n1"])
async def test_a_silent_connection_is_closed(world: World, start: bytes) -> None:
    world.announce(await world.recorder())
    answer = await refusal(world, start)
    assert answer.count(b"HTTP/1.1 ") == (1 if start.startswith(b"POST") else 0)
    await until(lambda: not world.gateway.clients)


async def test_a_request_that_began_behind_another_has_its_own_time(world: World) -> None:
    """The answer to the first one must not lend the second one the time of an idle connection."""
    world.announce(await world.recorder())
    answer = await refusal(world, POST + b"content-length: 1\r\n\r\n1" + POST)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 408 Request Timeout\r\n" in answer


def large_answer(size: int) -> Recorder:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        writer.write(b'"' + b"x" * (size - 2) + b'"')
        await writer.drain()

    return Recorder(answer)


async def add(world: World, recorder: Recorder) -> Recorder:
    await recorder.start()
    world.slots.append(recorder)
    world.announce(recorder)
    return recorder


def lazy_reader(world: World) -> socket.socket:
    """A caller with little room for an answer, that has sent its request and does not read."""
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.connect(("127.0.0.1", world.gateway.port))
    caller.sendall(POST + b"content-length: 1\r\n\r\n1")
    caller.setblocking(False)
    return caller


async def test_a_caller_that_does_not_read_is_cut_off_and_holds_no_slot(world: World) -> None:
    await add(world, large_answer(6 * MIB))
    caller = lazy_reader(world)
    await until(lambda: world.gateway.answer_budget.used_bytes > MIB)
    assert len((await world.invoke(2)).content) == 6 * MIB
    await until(lambda: not [client for client in world.gateway.clients if client.unread_bytes])
    assert world.gateway.answer_budget.used_bytes == 0
    caller.close()


async def test_a_caller_that_reads_slowly_but_enough_gets_all(world: World) -> None:
    await add(world, large_answer(3 * MIB))
    caller = lazy_reader(world)
    received = bytearray()
    loop = asyncio.get_running_loop()
    while len(received) < 3 * MIB:
        received += (data := await loop.sock_recv(caller, 32 * 1024))
        assert data
        await asyncio.sleep(0.01)
    caller.close()
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_no_more_is_begun_for_a_caller_that_does_not_read(world: World) -> None:
    recorder = await add(world, large_answer(6 * MIB))
    caller = lazy_reader(world)
    await until(lambda: world.gateway.answer_budget.used_bytes > MIB)
    caller.send((POST + b"content-length: 1\r\n\r\n2") * 3)
    await until(lambda: not world.gateway.clients)
    assert recorder.bodies == [b"1"]
    caller.close()


async def test_an_answer_without_room_waits_at_its_instance() -> None:
    """Both answers are too large for what the budget has left: the second waits until the first is read."""
    async with running(SHORT, body_limit_mib=16) as world:
        world.catalog.put(make_revision())
        await add(world, large_answer(12 * MIB))
        caller = lazy_reader(world)
        await until(lambda: world.gateway.answer_budget.used_bytes > 10 * MIB)
        answer = await world.invoke(2)
        assert len(answer.content) == 12 * MIB
        await until(lambda: world.gateway.answer_budget.used_bytes == 0)  # the caller has the end before we know it
        caller.close()


async def test_payloads_beyond_the_budget_are_503_and_what_is_there_goes_on() -> None:
    async with running(Limits(), body_limit_mib=16) as world:
        world.catalog.put(make_revision())
        world.catalog.put_http("hello-http", "hello", "/hello")
        body = b'"' + b"x" * (6 * MIB - 2) + b'"'
        path = "/2015-03-31/functions/hello/invocations"
        waiting = [asyncio.create_task(world.http.post(path, content=body)) for _ in range(2)]
        await until(lambda: world.queued(2))
        refused = await world.http.post(path, content=body)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.headers["x-amzn-errortype"] == "ServiceException"
        assert refused.json()["Type"] == "Service"
        assert (await world.http.post("/hello", content=body)).json() == {"message": "Service Unavailable"}
        small = asyncio.create_task(world.invoke(1))
        world.announce(await world.slot())
        assert (await small).json() == 1
        assert [(await call).content for call in waiting] == [body] * 2
        del waiting
        await until(lambda: world.gateway.request_budget.used_bytes == 0)


async def test_the_payloads_that_wait_for_one_function_are_bounded() -> None:
    async with running(Limits(), queue_limit_mib=1) as world:
        world.catalog.put(make_revision())
        world.catalog.put(make_revision("other"))
        world.announce(await world.slot(), function="other")
        waiting = asyncio.create_task(world.invoke("x" * (MIB - 100)))
        await until(lambda: world.queued(1))
        refused = await world.invoke("x" * 100)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "payloads that wait" in refused.json()["Message"]
        assert (await world.invoke("x" * 100, function="other")).status_code == 200
        world.announce(await world.slot())
        assert (await waiting).status_code == 200


async def test_connections_beyond_the_bound_are_told_and_closed() -> None:
    async with running(SHORT, client_limit=3) as world:
        world.catalog.put(make_revision())
        held = [await connect(world) for _ in range(3)]
        await until(lambda: len(world.gateway.clients) == 3)
        reader, writer = await connect(world)
        answer = await asyncio.wait_for(reader.read(), 60)
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 1\r\n" in answer
        assert b'"Too many connections."' in answer
        writer.close()
        for _, held_writer in held:
            held_writer.close()
        await until(lambda: not world.gateway.clients)
        world.announce(await world.slot())
        assert (await world.invoke(1)).json() == 1


async def test_a_connection_that_ended_leaves_nothing_behind(world: World) -> None:
    """Not even for the garbage collector, which hardly runs in the gateway."""

    def connections() -> int:
        return sum(isinstance(thing, ClientProtocol | RequestReader | Request) for thing in gc.get_objects())

    world.announce(await world.slot())
    gc.collect()
    gc.disable()
    try:
        before = connections()
        for _ in range(10):
            await world.raw(POST + b"connection: close\r\ncontent-length: 1\r\n\r\n1")
            await until(lambda: not world.gateway.clients)
            _, writer = await connect(world)
            writer.write(POST + b"content-length: 100000\r\n\r\n" + b"1" * 99_999)
            await until(lambda: len(world.gateway.clients) == 1)
            writer.transport.abort()
            await until(lambda: not world.gateway.clients)
        await asyncio.sleep(0)
        assert connections() == before
    finally:
        gc.enable()


async def test_small_calls_go_on_beside_large_ones() -> None:
    """Not one large call is over before the small ones have had many turns of the loop."""
    async with running() as world:
        world.catalog.put(make_revision())
        await call_beside(world)


async def call_beside(world: World) -> None:
    """Small calls, one after another, for as long as eight large ones take."""
    world.catalog.put(make_revision("small"))
    world.announce(await world.slot(), function="small")
    world.announce(await world.slot())
    body = b"[" + b'{"a": 1, "b": "text"},' * (6 * MIB // 23) + b"0]"
    path = "/2015-03-31/functions/hello/invocations"
    ended = 0

    async def large() -> None:
        nonlocal ended
        assert (await world.http.post(path, content=body)).status_code == 200
        ended += 1

    small = 0
    calls = [asyncio.create_task(large()) for _ in range(8)]
    while ended < len(calls):
        assert (await world.invoke(1, function="small")).json() == 1
        small += 1
    await asyncio.gather(*calls)
    assert small >= len(calls)
