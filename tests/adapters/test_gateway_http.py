"""The gateway's HTTP: triggers, connections, bounds, and requests that are not clear."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from tests.adapters.gateway_world import World, make_revision, running, until

from funclet.adapters.metrics import REQUESTS_REFUSED
from funclet.gateway import reading
from funclet.gateway.limits import Limits

PATH = b"/2015-03-31/functions/hello/invocations"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as world:
        world.catalog.put(make_revision())
        world.catalog.put_http("hello-http", "hello", "/hello/{who}")
        world.announce(await world.slot(respond))
        world.announce(await world.slot(), function="raw")
        world.catalog.put(make_revision("raw"))
        yield world


async def respond(_: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    event = json.loads(body)
    answer = {
        "statusCode": 201,
        "headers": {"X-Who": event.get("pathParameters", {}).get("who", ""), "Connection": "upgrade"},
        "cookies": ["a=1", "b=2"],
        "body": json.dumps(event),
    }
    return {}, json.dumps(answer).encode()


async def test_a_trigger_gets_the_event_and_answers_as_the_function_says(world: World) -> None:
    answer = await world.http.post("/hello/W%C3%B6rld?a=1&a=2", json={"x": 1}, headers={"cookie": "c=3"})
    assert answer.status_code == 201
    assert answer.headers["connection"] != "upgrade" if "connection" in answer.headers else True
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    event = answer.json()
    assert event["routeKey"] == "ANY /hello/{who}"
    assert event["pathParameters"] == {"who": "Wörld"}
    assert event["queryStringParameters"] == {"a": "1,2"}
    assert event["cookies"] == ["c=3"]
    assert event["body"] == '{"x":1}'
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"


async def test_headers_of_one_name_are_joined_and_trailers_left_out(world: World) -> None:
    fields = b"Cookie: c=3\r\nX-Word: a\r\ncookie: d=4\r\nx-word: b\r\ntransfer-encoding: chunked\r\nconnection: close"
    answer = await world.raw(
        b"POST /hello/x HTTP/1.1\r\nhost: h\r\n" + fields + b"\r\n\r\n2\r\n{}\r\n0\r\nX-Word: c\r\n\r\n"
    )
    event = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert event["cookies"] == ["c=3", "d=4"]
    assert event["headers"]["x-word"] == "a,b"


async def test_what_no_route_takes_is_404(world: World) -> None:
    answer = await world.http.get("/nobody")
    assert (answer.status_code, answer.json()) == (404, {"message": "Not Found"})
    world.catalog.put_http("only-get", "hello", "/only", ("GET",))
    assert (await world.http.get("/only")).status_code == 201
    assert (await world.http.post("/only")).status_code == 404


async def test_a_failed_function_is_500(world: World) -> None:
    async def fail(_: dict[str, str], __: bytes) -> tuple[dict[str, str], bytes]:
        return {"x-amz-function-error": "Unhandled"}, b'{"errorType": "KeyError"}'

    world.catalog.put(make_revision("failing"))
    world.catalog.put_http("failing", "failing", "/failing")
    world.announce(await world.slot(fail), function="failing")
    answer = await world.http.get("/failing")
    assert (answer.status_code, answer.json()) == (500, {"message": "Internal Server Error"})


async def test_head_has_no_body(world: World) -> None:
    answer = await world.raw(b"HEAD /hello/you HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201 Created")
    assert body == b""


async def test_pipelined_requests_are_answered_in_their_order(world: World) -> None:
    def request(number: int, end: bytes = b"") -> bytes:
        path = PATH.replace(b"hello", b"raw")
        return b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n%b\r\n%d" % (path, end, number)

    stream = b"".join(request(number) for number in range(100, 150)) + request(150, b"connection: close\r\n")
    answer = await world.raw(stream)
    bodies = [int(part[:3]) for part in answer.split(b"\r\n\r\n")[1:]]
    assert bodies == list(range(100, 151))


async def test_chunked_bodies_and_expect(world: World) -> None:
    head = b"POST %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" % PATH.replace(b"hello", b"raw")
    chunks = b"2\r\n[1\r\n3\r\n,2]\r\n0\r\n\r\n"
    assert (await world.raw(head + b"transfer-encoding: chunked\r\n\r\n" + chunks)).endswith(b"[1,2]")
    expecting = head + b"expect: 100-continue\r\ncontent-length: 1\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    writer.write(expecting)
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"7")
    assert (await reader.read()).endswith(b"\r\n\r\n7")
    writer.close()


async def test_an_offer_to_upgrade_is_not_taken(world: World) -> None:
    request = b"GET /hello/a HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n\r\n"
    last = b"GET /hello/b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    answer = await world.raw(request + last)
    assert answer.count(b"HTTP/1.1 201 Created") == 2
    assert b"upgrade:" not in answer.lower()


async def test_a_fault_of_ours_is_not_told_as_the_callers(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What goes wrong while a request is read comes out of the parser as an error of the parser."""

    def fail(*_: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr(reading, "judge_head", fail)
    assert (await world.raw(b"GET /hello/a HTTP/1.1\r\nhost: x\r\n\r\n")).startswith(b"HTTP/1.1 500 ")
    assert "no luck" in caplog.text


async def test_the_log_says_which_rule_a_refused_request_broke(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    counted = REQUESTS_REFUSED.labels("caller", "400")._value.get()
    good = b"GET /nobody HTTP/1.1\r\nhost: x\r\n\r\n"
    for bad in (b"GET /nobody HTTP/1.1\r\n\r\n", b"{}"):
        assert b"HTTP/1.1 400 " in await world.raw(good + good + bad)
    assert REQUESTS_REFUSED.labels("caller", "400")._value.get() == counted + 2
    (told, *_) = [record for record in caplog.records if record.message == "request refused"]
    said = {name: getattr(told, name) for name in ("sender", "source", "status", "rule", "answered", "moves")}
    rule = "exactly one Host (RFC 9112, 3.2)"
    assert said == {
        "sender": "caller", "source": "127.0.0.1", "status": 400, "rule": rule, "answered": 2, "moves": 0,
    }  # fmt: skip


async def test_bounds(world: World) -> None:
    long_header = b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 70_000 + b"\r\n\r\n"
    assert (await world.raw(long_header)).startswith(b"HTTP/1.1 431 ")
    endless_header = b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 400_000
    assert (await world.raw(endless_header)).startswith(b"HTTP/1.1 431 ")
    announced = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 6291457\r\n\r\n" % PATH
    answer = await world.raw(announced + b"x" * 100_000)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"x-amzn-ErrorType: RequestTooLargeException" in answer
    chunk = b"100000\r\n" + b"1" * 0x100000 + b"\r\n"
    chunked = b"POST /hello/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + chunk * 7
    assert (await world.raw(chunked)).startswith(b"HTTP/1.1 413 ")


async def test_the_largest_body_goes_through(world: World) -> None:
    body = b'"' + b"x" * (6 * 1024 * 1024 - 2) + b'"'
    answer = await world.http.post(PATH.decode().replace("hello", "raw"), content=body)
    assert answer.content == body


async def test_stop_lets_running_calls_end(world: World) -> None:
    release = asyncio.Event()

    async def held(_: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        await release.wait()
        return {}, body

    world.catalog.put(make_revision("held"))
    slot = await world.slot(held)
    world.announce(slot, function="held")
    call = asyncio.create_task(world.invoke(1, function="held"))
    await until(lambda: slot.running == 1)
    stopping = asyncio.create_task(world.gateway.stop())
    await until(lambda: world.gateway.stopping)
    release.set()
    answer = await call
    assert (answer.json(), answer.headers["connection"]) == (1, "close")
    await stopping


def accepts(world: World) -> bool:
    assert world.gateway._server is not None
    return world.gateway._server.is_serving()


@pytest.mark.parametrize("cut", [0, 1, 60, -2], ids=["no byte yet", "first byte", "head", "body"])
async def test_stop_lets_a_request_come_that_has_begun(cut: int) -> None:
    """A caller sends head and body one after the other, and the gateway is stopped in between."""
    async with running(Limits(first_seconds=60), shutdown_seconds=60) as world:
        world.catalog.put(make_revision())
        world.announce(await world.slot())
        data = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}" % PATH
        reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
        writer.write(data[:cut])
        await until(lambda: any(client.is_idle == (cut == 0) for client in world.gateway.clients))
        stopping = asyncio.create_task(world.gateway.stop())
        await until(lambda: not accepts(world))
        writer.write(data[cut:])
        answer = await asyncio.wait_for(reader.read(), 60)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"connection: close\r\n\r\n{}")
        await stopping
        writer.close()


async def test_stop_waits_for_callers_that_came_after_all_others_had_gone() -> None:
    async with running(shutdown_seconds=60) as world:
        release = asyncio.Event()

        async def hold(_: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
            await release.wait()
            return {}, body

        world.catalog.put(make_revision())
        slot = await world.slot(hold)
        world.announce(slot)
        world.gateway.stopping = True  # as while it drains: it still accepts
        assert (await world.raw(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        await until(lambda: not world.gateway.clients)
        data = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}" % PATH
        call = asyncio.create_task(world.raw(data))
        await until(lambda: slot.running == 1)
        stopping = asyncio.create_task(world.gateway.stop())
        await until(lambda: not accepts(world))
        release.set()
        assert (await call).startswith(b"HTTP/1.1 200 OK\r\n")
        await stopping
