"""Gateways beside each other: one home for each function, whichever gateway a caller reaches."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.adapters.gateway_world import TOKEN, Recorder, Script, make_revision, until
from tests.adapters.peers_world import Beside, PeersWorld, beside_each_other

from funclet.adapters.metrics import INVOCATIONS
from funclet.core.messages import Peer, Peers
from funclet.core.qualifiers import AliasRoute
from funclet.gateway.call import Relay, Request
from funclet.gateway.peer_connection import CONNECT_TIMEOUT_SECONDS, PeerConnection
from funclet.gateway.relay import NOT_HOME


@pytest.fixture
async def world() -> AsyncIterator[PeersWorld]:
    async with beside_each_other(queue_limit=4) as world:
        yield world


class Gate:
    """A handler that answers when it may."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.entered = 0

    async def __call__(self, _: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        self.entered += 1
        await self.open.wait()
        return {}, body


async def test_every_function_is_answered_by_every_gateway(world: PeersWorld) -> None:
    a, b = world.gateways
    for home in (a, b):
        name = world.function_at(home)
        slot = await world.function(name)
        before = INVOCATIONS.of(f"default/{name}").ok
        for beside in (a, b):
            answer = await beside.invoke(name, b'{"word": "x"}')
            assert (answer.status_code, answer.json()) == (200, {"word": "x"})
            assert answer.headers["x-funclet-billed-ms"] == "2"
            assert len(answer.headers["x-amzn-requestid"]) == 36
        assert len(slot.received) == 2
        assert INVOCATIONS.of(f"default/{name}").ok == before + 2, "both gateways count into this process' meters"


async def test_every_report_says_which_process_it_is_of(world: PeersWorld) -> None:
    processes = {beside.neighbourhood.homes.me for beside in world.gateways}
    await until(lambda: processes <= {report.peer for report in world.scaler.reports})
    assert all(report.peer is not None for report in world.scaler.reports)


async def test_a_connection_made_at_the_last_moment_is_one(world: PeersWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process that the machine leaves waiting, a connection's time is over when its request is on its way."""
    made = PeerConnection.connection_made

    def wait_long(connection: PeerConnection, transport: asyncio.BaseTransport) -> None:
        made(connection, transport)
        time.sleep(1.5 * CONNECT_TIMEOUT_SECONDS)

    monkeypatch.setattr(PeerConnection, "connection_made", wait_long)
    a, b = world.gateways
    name = world.function_at(a)
    slot = await world.function(name)
    assert (await b.invoke(name)).status_code == 200
    assert len(slot.received) == 1
    assert not b.neighbourhood.homes.passed_over


async def test_a_gateway_that_stood_still_passes_over_nobody(
    world: PeersWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = PeerConnection.send

    def stand_still(connection: PeerConnection, relay: Relay, data: bytes) -> None:
        send(connection, relay, data)
        loop, seconds = asyncio.get_running_loop(), 1.5 * CONNECT_TIMEOUT_SECONDS
        loop.call_soon(time.sleep, seconds)
        loop.call_soon(loop.call_soon, time.sleep, seconds)

    monkeypatch.setattr(PeerConnection, "send", stand_still)
    a, b = world.gateways
    name = world.function_at(a)
    await world.function(name)
    assert (await b.invoke(name)).status_code == 200
    assert not b.neighbourhood.homes.passed_over


async def test_no_slot_is_booked_twice(world: PeersWorld) -> None:
    name = world.function_at(world.gateways[0])
    slot = await world.function(name)
    both = [beside.invoke(name) for beside in world.gateways for _ in range(2)]
    answers = await asyncio.gather(*both)
    assert [answer.status_code for answer in answers] == [200] * 4
    assert slot.most_running == 1


async def test_reserved_concurrency_holds_over_all(world: PeersWorld) -> None:
    gate = Gate()
    name = world.function_at(world.gateways[0])
    await world.function(name, gate, slots=5, reserved=3)
    calls = [asyncio.create_task(beside.invoke(name)) for beside in world.gateways for _ in range(4)]
    await until(lambda: sum(call.done() for call in calls) == 5)
    gate.open.set()
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 5
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["x-amzn-errortype"] == "TooManyRequestsException"
    assert refused.json()["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


async def test_the_queue_limit_holds_over_all(world: PeersWorld) -> None:
    gate = Gate()
    name = world.function_at(world.gateways[0])
    await world.function(name, gate)
    calls = [asyncio.create_task(beside.invoke(name)) for beside in world.gateways for _ in range(4)]
    await until(lambda: sum(call.done() for call in calls) == 3)
    gate.open.set()
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [503] * 3
    assert gate.entered == 5


async def test_the_largest_bodies_pass_both_ways(world: PeersWorld) -> None:
    a, b = world.gateways
    name = world.function_at(a)
    await world.function(name)
    body = json.dumps("x" * (6 * 1024 * 1024 - 2)).encode()
    answer = await b.invoke(name, body)
    assert (answer.status_code, answer.content) == (200, body)


async def test_http_triggers_see_the_caller_and_not_the_gateway(world: PeersWorld) -> None:
    async def respond(_: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        event = json.loads(body)
        answer = {"statusCode": 418, "headers": {"x-seen": "1"}, "cookies": ["a=1", "b=2"], "body": json.dumps(event)}
        return {}, json.dumps(answer).encode()

    a, b = world.gateways
    name = world.function_at(a)
    await world.function(name, respond)
    world.catalog.put_http("http", name, "/hello/{who}")
    direct, forwarded = [
        await beside.http.post("/hello/you?x=1", content=b"text", headers={"cookie": "c=3", "host": "example.org"})
        for beside in (a, b)
    ]
    assert forwarded.status_code == 418
    assert forwarded.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert forwarded.headers.keys() == direct.headers.keys()
    events = [answer.json() for answer in (direct, forwarded)]
    for event in events:
        assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
        assert len(event["requestContext"].pop("requestId")) == 36
        event["requestContext"].pop("time")
        event["requestContext"].pop("timeEpoch")
    assert events[0] == events[1]
    head = await b.http.head("/hello/you")
    assert (head.status_code, head.content, head.headers["x-seen"]) == (418, b"", "1")
    assert (await b.http.get("/nowhere")).status_code == 404


async def test_an_old_caller_is_answered_and_its_connection_closed(world: PeersWorld) -> None:
    a, b = world.gateways
    name = world.function_at(a)
    await world.function(name)
    reader, writer = await asyncio.open_connection("127.0.0.1", b.gateway.port)
    writer.write(f"POST /2015-03-31/functions/{name}/invocations HTTP/1.0\r\ncontent-length: 2\r\n\r\n{{}}".encode())
    answer = await asyncio.wait_for(reader.read(), 60)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n{}")
    writer.close()


@pytest.mark.parametrize("last", ["HTTP/1.0\r\n", "HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"])
async def test_a_call_that_is_its_connections_last_finds_a_home_that_has_moved(
    world: PeersWorld, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    """It is asked for until both follow the list, and nothing goes after a request that was the last."""
    a, b = world.gateways
    name = world.function_at(a)
    await world.function(name)
    door = a.gateway._door
    assert door is not None
    asked: list[Request] = []
    place = door.place

    def note(request: Request) -> None:
        asked.append(request)
        place(request)

    monkeypatch.setattr(door, "place", note)
    homes = a.neighbourhood.homes
    me = Peer(id=homes.me, host="127.0.0.1", port=a.neighbourhood.port, leaving=True)
    moved = Peers(epoch=homes.epoch + 1, peers=[me, *homes.others.values()])
    a.neighbourhood.apply(moved)
    reader, writer = await asyncio.open_connection("127.0.0.1", b.gateway.port)
    writer.write(f"POST /2015-03-31/functions/{name}/invocations {last}content-length: 2\r\n\r\n{{}}".encode())
    answering = asyncio.create_task(reader.read())
    await until(lambda: len(asked) >= 3 or answering.done())
    b.neighbourhood.apply(moved)
    answer = await asyncio.wait_for(answering, 60)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n{}")
    writer.close()


async def test_a_plain_call_needs_no_token_on_a_connection_that_has_shown_it(world: PeersWorld) -> None:
    a, b = world.gateways
    here, elsewhere = world.function_at(a), world.function_at(b)
    slot = await world.function(here)
    await world.function(elsewhere)
    reader, writer = await asyncio.open_connection("127.0.0.1", a.neighbourhood.port)

    async def call(function: str, header: str = "") -> bytes:
        path = f"/2015-03-31/functions/{function}/invocations"
        writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\n{header}content-length: 2\r\n\r\n{{}}".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        return head.partition(b"\r\n")[0]

    assert (await call(here)).startswith(b"HTTP/1.1 401 ")
    assert (await call(here, "x-funclet-peer-token: another\r\n")).startswith(b"HTTP/1.1 401 ")
    assert (await call(here)).startswith(b"HTTP/1.1 401 ")
    assert await call(here, f"x-funclet-peer-token: {TOKEN}\r\n") == b"HTTP/1.1 200 OK"
    assert await call(here) == b"HTTP/1.1 200 OK"
    assert await call(elsewhere) == NOT_HOME.partition(b"\r\n")[0]
    assert len(slot.received) == 2
    writer.close()


async def test_errors_are_the_homes(world: PeersWorld) -> None:
    a, b = world.gateways
    name = world.function_at(a)
    await world.function(name)
    bad = await b.invoke(name, b"{")
    assert (bad.status_code, bad.headers["x-amzn-errortype"]) == (400, "InvalidRequestContentException")
    missing = await b.invoke(world.function_at(a, "missing"))
    assert (missing.status_code, missing.headers["x-amzn-errortype"]) == (404, "ResourceNotFoundException")


async def test_a_caller_that_goes_away_waits_no_longer(world: PeersWorld) -> None:
    gate = Gate()
    a, b = world.gateways
    name = world.function_at(a)
    await world.function(name, gate)
    first = asyncio.create_task(b.invoke(name))
    await until(lambda: gate.entered == 1)
    second = asyncio.create_task(b.invoke(name))
    await until(lambda: a.busy(name) == 2)
    second.cancel()
    await until(lambda: a.busy(name) == 1)
    gate.open.set()
    assert (await first).status_code == 200
    assert gate.entered == 1


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"


async def streaming(world: PeersWorld, script: Script) -> tuple[str, Recorder]:
    """A function at home at the first gateway whose only slot answers as the script says."""
    name = world.function_at(world.gateways[0], "s")
    recorder = Recorder(script)
    await recorder.start()
    world.catalog.put(make_revision(name))
    world.catalog.put_http("stream", name, "/stream")
    world.scaler.announce(name, recorder)
    await until(lambda: world.gateways[0].knows_instance_of(name))
    world.slots.append(recorder)
    return name, recorder


async def test_streams_arrive_piece_by_piece(world: PeersWorld) -> None:
    arrived = asyncio.Event()

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + b"5\r\nfirst\r\n")
        await arrived.wait()
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")

    await streaming(world, script)
    pieces = []
    async with world.gateways[1].http.stream("GET", "/stream") as answer:
        async for piece in answer.aiter_bytes():
            pieces.append(piece)
            arrived.set()
    assert (answer.status_code, pieces) == (200, [b"first", b"second"])


async def test_the_stream_api_has_its_home_too(world: PeersWorld) -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + b"5\r\nwords\r\n0\r\n\r\n")

    name, recorder = await streaming(world, script)
    path = f"/2021-11-15/functions/{name}/response-streaming-invocations"
    for beside in world.gateways:
        answer = await beside.http.post(path, content=b"{}")
        assert answer.status_code == 200
        assert b"words" in answer.content
        assert b"InvokeComplete" in answer.content
    assert recorder.connections == 1


async def test_a_caller_that_leaves_a_stream_ends_it(world: PeersWorld) -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + b"5\r\nfirst\r\n")
        await asyncio.Event().wait()

    name, _ = await streaming(world, script)
    a, b = world.gateways
    async with b.http.stream("GET", "/stream") as answer:
        assert await anext(answer.aiter_bytes()) == b"first"
        assert a.busy(name) == 1
    await until(lambda: a.busy(name) == 0)


async def test_a_caller_that_does_not_read_holds_its_instance_up(world: PeersWorld) -> None:
    written = 0

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(STREAM_HEAD)
        for _piece in range(64):
            writer.write(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
            await writer.drain()
            written += 1
        writer.write(b"0\r\n\r\n")

    await streaming(world, script)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateways[1].gateway.port, limit=2**16)
    writer.write(b"GET /stream HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
    await until(lambda: written > 0)
    before = -1
    while before != written:
        before = written
        await asyncio.sleep(0.3)
    assert written < 48
    assert len(await asyncio.wait_for(reader.read(), 60)) > 64 * 0x100000
    writer.close()


async def test_a_stream_that_breaks_off_breaks_off(world: PeersWorld) -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + b"5\r\nfirst\r\n")
        await writer.drain()
        writer.close()

    await streaming(world, script)
    with pytest.raises(httpx.RemoteProtocolError):
        await world.gateways[1].http.get("/stream")


async def test_connections_between_gateways_are_kept(world: PeersWorld) -> None:
    a, b = world.gateways
    name = world.function_at(a)
    await world.function(name)
    assert a.gateway._door is not None
    seen = set()
    for _ in range(20):
        assert (await b.invoke(name)).status_code == 200
        seen |= a.gateway._door.clients
    assert len(seen) <= 2, "one for requests, one for notes"


async def test_the_door_opens_to_gateways_alone_and_passes_nothing_on(world: PeersWorld) -> None:
    a, b = world.gateways
    name = world.function_at(a)
    await world.function(name)
    path = f"http://127.0.0.1:{b.neighbourhood.port}/2015-03-31/functions/{name}/invocations"
    async with httpx.AsyncClient() as client:
        assert (await client.post(path, content=b"{}")).status_code == 401
        wrong = await client.post(path, content=b"{}", headers={"x-funclet-peer-token": "guess"})
        assert wrong.status_code == 401
        lost = await client.post(path, content=b"{}", headers={"x-funclet-peer-token": TOKEN})
        assert (lost.status_code, lost.reason_phrase) == (421, "Not Home")
        nonsense = await client.post(
            f"http://127.0.0.1:{b.neighbourhood.port}/v1/peers/note",
            content=b"{}",
            headers={"x-funclet-peer-token": TOKEN},
        )
        assert nonsense.status_code == 400
    assert b"421 Not Home" in NOT_HOME


async def test_what_callers_say_of_themselves_in_our_words_is_not_believed(world: PeersWorld) -> None:
    async def respond(_: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        return {}, json.dumps({"statusCode": 200, "body": body.decode()}).encode()

    a, b = world.gateways
    name = world.function_at(a)
    await world.function(name, respond)
    world.catalog.put_http("http", name, "/hello")
    headers = {"x-funclet-peer-source": "10.9.9.9", "x-funclet-peer-token": "guess"}
    event = (await b.http.get("/hello", headers=headers)).json()
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
    assert not [key for key in event["headers"] if key.startswith("x-funclet-peer")]


async def test_a_gateway_that_comes_takes_its_share_and_books_nothing_twice(world: PeersWorld) -> None:
    gate = Gate()
    a, b = world.gateways
    names = [f"g{number}" for number in range(40)]  # of 12 none moves once in a hundred and thirty times
    slots = [await world.function(name, gate) for name in names]
    running = [asyncio.create_task(a.invoke(name)) for name in names]
    await until(lambda: gate.entered == len(names))
    c = await world.add()
    await world.agreed()
    moved = [name for name in names if world.home_of(name) is c]
    assert moved
    waiting = [asyncio.create_task(beside.invoke(name)) for name in moved for beside in (a, b, c)]
    await until(lambda: sum(c.busy(name) for name in moved) == len(waiting))
    assert gate.entered == len(names)
    gate.open.set()
    answers = await asyncio.gather(*running, *waiting)
    assert {answer.status_code for answer in answers} == {200}
    assert {slot.most_running for slot in slots} == {1}


async def test_a_gateway_that_leaves_hands_over_what_runs_and_what_waits(world: PeersWorld) -> None:
    gate = Gate()
    a, b = world.gateways
    name = world.function_at(a)
    slot = await world.function(name, gate, reserved=4)
    calls = [asyncio.create_task(beside.invoke(name)) for beside in (a, b, b)]
    await until(lambda: a.busy(name) == 3)
    stopping = asyncio.create_task(a.gateway.stop())
    await until(lambda: b.busy(name) == 2)
    assert gate.entered == 1
    late = asyncio.create_task(b.invoke(name))
    await until(lambda: b.busy(name) == 3)
    assert (await b.invoke(name)).status_code == 429
    gate.open.set()
    answers = await asyncio.gather(*calls, late)
    assert {answer.status_code for answer in answers} == {200}
    await stopping
    assert slot.most_running == 1


async def test_with_the_scaler_down_the_last_list_holds(world: PeersWorld) -> None:
    a, b = world.gateways
    name = world.function_at(a)
    slot = await world.function(name)
    await world.scaler.stop()
    answers = await asyncio.gather(*(beside.invoke(name) for beside in (a, b) for _ in range(2)))
    assert {answer.status_code for answer in answers} == {200}
    assert slot.most_running == 1
    epoch = a.neighbourhood.homes.epoch
    await world.scaler.start()
    await until(lambda: len(world.scaler.gateways) == 2)
    assert (await b.invoke(name)).status_code == 200
    assert a.neighbourhood.homes.epoch == epoch


async def test_an_alias_is_the_same_at_every_gateway(world: PeersWorld) -> None:
    a, b = world.gateways
    name = world.function_at(a)
    versions = {number: await world.function(f"{name}:{number}") for number in (1, 2)}
    key = f"default/{name}"
    alias = f"{key}:live"

    async def executed(beside: Beside) -> str:
        answer = await beside.invoke(name, qualifier="live")
        return str(answer.headers["x-amz-executed-version"])

    for route, version in (
        (AliasRoute(f"{key}:1"), "1"),
        (AliasRoute(f"{key}:1", f"{key}:2", 1.0), "2"),
        (AliasRoute(f"{key}:2"), "2"),
    ):
        world.catalog.aliases[alias] = route
        assert {await executed(beside) for beside in (a, b, b, a)} == {version}
    world.catalog.aliases[alias] = AliasRoute(f"{key}:1", f"{key}:2", 0.5)
    assert {await executed(b) for _ in range(60)} == {"1", "2"}, "one of them alone: once in 2^59 runs"
    assert sum(len(slot.received) for slot in versions.values()) == 72
    for slot in versions.values():
        arns = {headers["lambda-runtime-invoked-function-arn"] for headers in slot.received}
        assert {arn.rpartition(":function:")[2] for arn in arns} == {f"{name}:live"}


async def test_what_is_reserved_holds_over_versions_and_gateways(world: PeersWorld) -> None:
    a, b = world.gateways
    name = world.function_at(a)
    gate = Gate()
    for number in (1, 2):
        await world.function(f"{name}:{number}", gate, reserved=1)
    world.catalog.aliases[f"default/{name}:live"] = AliasRoute(f"default/{name}:1")
    running = asyncio.create_task(b.invoke(name, qualifier="live"))
    await until(lambda: gate.entered == 1)
    for beside in (a, b):
        for qualifier in ("live", "2"):
            assert (await beside.invoke(name, qualifier=qualifier)).status_code == 429
    gate.open.set()
    assert (await running).status_code == 200
    assert gate.entered == 1
