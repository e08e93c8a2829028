"""Callers that mean harm: requests that two servers could read differently, and what the gateway answers.

Behind it stands an instance that records every byte: whatever a caller sends, the gateway alone speaks to instances.
"""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.adapters.gateway_world import World, make_revision, running, until
from tests.fuzz import fuzz

PATH = b"/2015-03-31/functions/hello/invocations"
POST = b"POST %b HTTP/1.1\r\nhost: x\r\n" % PATH
CHUNKED = POST + b"transfer-encoding: chunked\r\n"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as world:
        world.catalog.put(make_revision())
        world.catalog.put_http("hello-http", "hello", "/hello/{who}")
        yield world


def statuses(stream: bytes) -> list[int]:
    return [int(part[:3]) for part in stream.split(b"HTTP/1.1 ")[1:]]


REFUSED = {
    # Two lengths, or one that is none.
    "CL.TE": (POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "TE.CL": (CHUNKED + b"content-length: 4\r\n\r\n0\r\n\r\n", 400),
    "CL.CL": (POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\n1", 400),
    "CL.CL, equal": (POST + b"content-length: 1\r\ncontent-length: 1\r\n\r\n1", 400),
    "CL in a list": (POST + b"content-length: 1, 1\r\n\r\n1", 400),
    "CL with a sign": (POST + b"content-length: +1\r\n\r\n1", 400),
    "CL in hexadecimal": (POST + b"content-length: 0x1\r\n\r\n1", 400),
    "CL with an underscore": (POST + b"content-length: 1_0\r\n\r\n1", 400),
    "CL empty": (POST + b"content-length:\r\n\r\n1", 400),
    "CL too large for any number": (POST + b"content-length: 99999999999999999999\r\n\r\n1", 400),
    "CL in a trailer": (CHUNKED + b"\r\n0\r\ncontent-length: 5\r\n\r\n", 400),
    # Codings that hide the length.
    "TE.TE, the second unknown": (CHUNKED + b"transfer-encoding: identity\r\n\r\n0\r\n\r\n", 400),
    "TE.TE, the first unknown": (POST + b"transfer-encoding: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 501),
    "TE twice": (CHUNKED + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "TE, chunked not last": (POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    "TE, chunked twice": (POST + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "TE of a coding that we do not speak": (POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "TE that ends like chunked": (POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "TE with a vertical tab": (POST + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "TE with a space before the colon": (POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "TE in HTTP/1.0": (CHUNKED.replace(b"1.1", b"1.0") + b"\r\n0\r\n\r\n", 400),
    "TE beside an offer to upgrade": (CHUNKED + b"connection: upgrade\r\nupgrade: x\r\n\r\n0\r\n\r\n", 400),
    # Chunks.
    "chunk size with a sign": (CHUNKED + b"\r\n-1\r\n1\r\n0\r\n\r\n", 400),
    "chunk size with a prefix": (CHUNKED + b"\r\n0x1\r\n1\r\n0\r\n\r\n", 400),
    "chunk size with a space": (CHUNKED + b"\r\n1 \r\n1\r\n0\r\n\r\n", 400),
    "chunk size too large for any number": (CHUNKED + b"\r\nfffffffffffffffff\r\n1\r\n0\r\n\r\n", 400),
    "chunk longer than its size": (CHUNKED + b"\r\n1\r\n12\r\n0\r\n\r\n", 400),
    "chunk lines that end in bare LF": (CHUNKED + b"\r\n1\n1\n0\n\n", 400),
    "chunk extension with a line feed": (CHUNKED + b'\r\n1;a="\n"\r\n1\r\n0\r\n\r\n', 400),
    # Lines and characters.
    "bare LF": (b"GET / HTTP/1.1\nhost: x\n\n", 400),
    "bare LF in the headers": (b"GET / HTTP/1.1\r\nhost: x\na: b\r\n\r\n", 400),
    "bare CR": (b"GET / HTTP/1.1\r\nhost: x\ry: z\r\n\r\n", 400),
    "obs-fold": (POST + b"a: b\r\n content-length: 5\r\ncontent-length: 1\r\n\r\n1", 400),
    "first header folded": (b"GET / HTTP/1.1\r\n host: x\r\n\r\n", 400),
    "NUL in a header": (b"GET / HTTP/1.1\r\nhost: x\r\na: b\0c\r\n\r\n", 400),
    "NUL in the path": (b"GET /\0 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    "header without a name": (b"GET / HTTP/1.1\r\nhost: x\r\n: b\r\n\r\n", 400),
    "header without a colon": (b"GET / HTTP/1.1\r\nhost: x\r\nfoo\r\n\r\n", 400),
    "space before the colon": (POST + b"content-length : 1\r\n\r\n1", 400),
    "space in the path": (b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    "TLS to a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
    # What HTTP/1.1 demands.
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n", 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nhost: x\r\n\r\n", 505),
    "HTTP/0.9": (b"GET / HTTP/0.9\r\nhost: x\r\n\r\n", 505),
    "tunnel": (b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n", 501),
    "method in lower case": (b"get / HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    "method of another protocol": (b"SOURCE / HTTP/1.1\r\nhost: x\r\n\r\n", 501),
    # Too much.
    "head": (b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 70_000 + b"\r\n\r\n", 431),
    "head without an end": (b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 700_000, 431),
    "empty lines without an end": (b"\r\n" * 400_000, 431),
    "path": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 431),
    "headers": (POST + b"".join(b"h%d: x\r\n" % n for n in range(300)) + b"content-length: 1\r\n\r\n1", 431),
    "headers of one name": (POST + b"a: b\r\n" * 8000 + b"content-length: 1\r\n\r\n1", 431),
    "body, announced": (POST + b"content-length: 6291457\r\n\r\n", 413),
    "body, in chunks": (CHUNKED + b"\r\n" + (b"100000\r\n" + b"1" * 0x100000 + b"\r\n") * 7, 413),
    "chunk extensions": (CHUNKED + b"\r\n" + (b"1;" + b"e" * 16_000 + b"\r\n1\r\n") * 500, 413),
    "trailers without an end": (CHUNKED + b"\r\n1\r\n1\r\n0\r\n" + b"a: b\r\n" * 1_200_000, 413),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_it_is_refused_and_nothing_of_it_reaches_an_instance(world: World, name: str) -> None:
    recorder = await world.recorder()
    world.announce(recorder)
    request, status = REFUSED[name]
    smuggled = POST + b"content-length: 8\r\n\r\n" + b'"hidden"'
    answer = await world.raw(request + smuggled)
    assert statuses(answer) == [status]
    assert b"\r\nconnection: close\r\n" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (await world.invoke("after")).status_code == 200
    assert (recorder.bodies, recorder.strays) == ([b'"after"'], [])


NORMALISED = {
    "chunk extensions": (CHUNKED + b'\r\n1;a=b;c="d"\r\n1\r\n1\r\n2\r\n0;e\r\n\r\n', b"12"),
    "trailers": (CHUNKED + b"\r\n2\r\n12\r\n0\r\nx-amz-log-type: Tail\r\nx-funclet-token: t\r\n\r\n", b"12"),
    "chunk sizes with zeros in front": (CHUNKED + b"\r\n00000002\r\n12\r\n000\r\n\r\n", b"12"),
    "TE in capitals": (POST + b"Transfer-Encoding: CHUNKED\r\n\r\n2\r\n12\r\n0\r\n\r\n", b"12"),
    "headers of the inner protocol": (
        POST + b"x-funclet-token: t\r\nlambda-runtime-aws-request-id: 1\r\nlambda-runtime-deadline-ms: 1\r\n"
        b"lambda-runtime-function-response-mode: streaming\r\ncontent-length: 2\r\n\r\n12", b"12",
    ),
    "a trace id that is none": (POST + b"x-amzn-trace-id: Root=1\x80\x81\r\ncontent-length: 2\r\n\r\n12", b"12"),
    "a log type that is none": (POST + b"x-amz-log-type: Tail, x\r\ncontent-length: 2\r\n\r\n12", b"12"),
    "an offer to upgrade": (POST + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\n12", b"12"),
    "HTTP/1.0": (POST.replace(b"1.1", b"1.0") + b"content-length: 2\r\n\r\n12", b"12"),
    "empty lines in front": (b"\r\n\r\n" + POST + b"content-length: 2\r\n\r\n12", b"12"),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMALISED)
async def test_what_is_odd_but_clear_reaches_the_instance_in_the_gateways_own_words(world: World, name: str) -> None:
    recorder = await world.recorder()
    world.announce(recorder)
    request, body = NORMALISED[name]
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    writer.write(request)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()
    assert (recorder.bodies, recorder.strays) == ([body], [])


async def test_a_client_context_cannot_add_a_header(world: World) -> None:
    recorder = await world.recorder()
    world.announce(recorder)
    context = "eyJhIjogIngNClxyXG5iOiBjIn0="  # {"a": "x<CR><LF>\r\nb: c"}, raw line ends in JSON: refused
    assert (await world.invoke(1, x_amz_client_context=context)).status_code == 400
    context = "eyJhIjogIlxyXG5iOiBjIn0="  # {"a": "\r\nb: c"}: escaped line ends, which stay escaped
    assert (await world.invoke(2, x_amz_client_context=context)).status_code == 200
    assert (recorder.bodies, recorder.strays) == ([b"2"], [])


async def test_the_body_of_an_offer_to_upgrade_is_no_request(world: World) -> None:
    recorder = await world.recorder()
    world.announce(recorder)
    hidden = POST + b'content-length: 8\r\n\r\n"hidden"'
    offer = POST + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: %d\r\n\r\n" % len(hidden) + hidden
    last = POST + b'connection: close\r\ncontent-length: 6\r\n\r\n"last"'
    assert statuses(await world.raw(offer + last)) == [400, 200]
    assert (recorder.bodies, recorder.strays) == ([b'"last"'], [])


async def test_a_thousand_upgrades_in_one_piece_are_not_a_thousand_frames_deep(world: World) -> None:
    recorder = await world.recorder()
    world.announce(recorder)
    answer = await world.raw((b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n") * 3000)
    assert set(statuses(answer)) == {404}
    assert 1 <= len(statuses(answer)) <= 66


async def test_pipelined_requests_beyond_the_bound_are_left_to_be_sent_again(world: World) -> None:
    """RFC 9112, 9.3.2 and 9.6: the answer that closes the connection says that what follows was not looked at."""
    recorder = await world.recorder()
    world.announce(recorder)
    answer = await world.raw(b"".join(POST + b"content-length: 4\r\n\r\n%d" % n for n in range(1000, 2000)))
    assert statuses(answer) == [200] * len(recorder.bodies)
    assert recorder.bodies == [b"%d" % n for n in range(1000, 1000 + len(recorder.bodies))]
    assert 64 <= len(recorder.bodies) <= 66
    assert answer.count(b"connection: close") == 1
    assert b"connection: close" in answer[answer.rindex(b"HTTP/1.1 200") :]


async def test_half_closed_is_closed(world: World) -> None:
    """Callers give up so, and nothing tells them from those that would still read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    writer.write(POST + b"content-length: 1\r\n\r\n1")
    await until(lambda: world.queued(1))
    writer.write_eof()
    assert await reader.read() == b""
    await until(lambda: world.queued(0))
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    writer.write(POST + b"content-length: 10\r\n\r\n1")
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    recorder = await world.recorder()
    world.announce(recorder)
    assert (await world.invoke("after")).status_code == 200
    assert (recorder.bodies, recorder.strays) == ([b'"after"'], [])


@pytest.mark.parametrize("part", [b"POST ", POST, POST + b"content-length: 10\r\n\r\n12345", CHUNKED + b"\r\n5\r\n123"])
async def test_a_request_that_is_reset_half_way_reaches_nobody(world: World, part: bytes) -> None:
    recorder = await world.recorder()
    world.announce(recorder)
    _, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    writer.write(part)
    await until(lambda: len(world.gateway.clients) == 1)
    writer.transport.abort()
    await until(lambda: not world.gateway.clients)
    assert (await world.invoke("after")).status_code == 200
    assert (recorder.bodies, recorder.strays) == ([b'"after"'], [])


SEEDS = [
    POST + b"content-length: 4\r\n\r\n1234",
    CHUNKED + b"\r\n2\r\n12\r\n0\r\n\r\n",
    b"GET /hello/you?a=1 HTTP/1.1\r\nhost: x\r\ncookie: a=b\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    b"POST /hello/you HTTP/1.0\r\ncontent-length: 2\r\n\r\n{}",
    POST + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n{}",
]
FRAGMENTS = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"0\r\n\r\n", b"content-length: 5\r\n", b"\xff",
    b"transfer-encoding: chunked\r\n", b"HTTP/1.1", b"HTTP/1.0", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"fffffff\r\n",
    b"connection: close\r\n",
]  # fmt: skip
MUTATION = st.tuples(st.integers(0, 400), st.integers(0, 12), st.sampled_from(FRAGMENTS) | st.binary(max_size=6))


def mutate(request: bytes, mutations: list[tuple[int, int, bytes]]) -> bytes:
    """Some bytes removed here, others put in there."""
    for position, removed, put in mutations:
        start = position % (len(request) + 1)
        request = request[:start] + put + request[start + removed :]
    return request


async def try_stream(world: World, stream: bytes) -> None:
    """Whatever it is: answers or a closed connection, soon; and whoever comes next is served."""
    _, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    reader = writer.transport.get_protocol()._stream_reader  # type: ignore[attr-defined]
    writer.write(stream)
    writer.write(b"\r\n\r\nGET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    try:
        async with asyncio.timeout(0.3):
            answer = await reader.read(1 << 20)
    except TimeoutError:
        answer = b""  # it waits for the rest of a body
    except ConnectionError:
        answer = b""
    writer.transport.abort()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
    assert {status // 100 for status in statuses(answer)} <= {1, 2, 4, 5}
    assert 500 not in statuses(answer)


def test_mutated_requests_never_hang_or_crash_the_gateway() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        context = running()
        world = runner.run(context.__aenter__())
        crashes: list[dict[str, object]] = []
        runner.get_loop().set_exception_handler(lambda _, context: crashes.append(context))
        world.catalog.put(make_revision())
        world.catalog.put_http("hello-http", "hello", "/hello/{who}")
        recorder = runner.run(world.recorder())
        world.announce(recorder)

        @settings(fuzz(250), suppress_health_check=list(HealthCheck))
        @given(
            seeds=st.lists(st.sampled_from(SEEDS), min_size=1, max_size=3),
            mutations=st.lists(MUTATION, min_size=1, max_size=4),
        )
        def try_one(seeds: list[bytes], mutations: list[tuple[int, int, bytes]]) -> None:
            runner.run(try_stream(world, mutate(b"".join(seeds), mutations)))

        try:
            try_one()
            assert runner.run(world.invoke("after")).status_code == 200
            assert recorder.strays == []
            assert crashes == []
        finally:
            runner.run(context.__aexit__(None, None, None))
