"""The short way of plain invocations: what it takes, the long way reads alike; what asks for anything, it leaves."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.adapters.gateway_world import make_revision

from funclet.adapters.metrics import InvocationMeters
from funclet.core.function_pool import FunctionPool
from funclet.gateway.budget import Budget
from funclet.gateway.call import Call, Request, Served
from funclet.gateway.limits import Limits
from funclet.gateway.plain import PlainReader
from funclet.gateway.reading import RequestReader

URL = b"/2015-03-31/functions/hello/invocations"
HEAD = b"POST " + URL + b" HTTP/1.1\r\nHost: gateway\r\n"
LIMITS = Limits(headers=12)


class Client:
    """The caller's connection, which nobody looks at."""

    def invite(self) -> None:
        raise AssertionError("nothing was said of Expect")


class Bounds:
    """The gateway as the long way needs it."""

    limits = LIMITS
    now = 0.0

    def __init__(self) -> None:
        self.request_budget = Budget(1 << 20)

    def too_large(self, url: bytes) -> None:
        raise AssertionError("nothing here is large")

    too_busy = too_large


def make_reader(*, serves: bool = True) -> PlainReader:
    served = Served("default/hello", FunctionPool("default/hello", 10, 1000), InvocationMeters().of("default/hello"))
    served.revision = make_revision()
    functions = {"default/hello": served}
    return PlainReader(lambda url: ("default/hello", "") if url == URL else None, functions, lambda *_: serves, LIMITS)


def read_long(data: bytes) -> Request | None:
    """The one whole request in `data`, if the long way finds it good."""
    reader = RequestReader(Client(), Bounds())  # type: ignore[arg-type]
    try:
        reader.feed(data)
    except AssertionError:
        return None
    whole = len(reader.queue) == 1 and reader.fault is None and not reader.receiving
    return reader.queue[0] if whole else None


READER = make_reader()


def read(data: bytes) -> Call | None:
    request = READER.read(Client(), data)  # type: ignore[arg-type]
    assert request is None or request.call is not None
    return None if request is None else request.call


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Content-Length: 2\r\n\r\n{}",
        HEAD + b"content-length: 0\r\n\r\n",
        HEAD + b"Connection: keep-alive\r\nCONTENT-LENGTH: 4\r\nAccept: */*\r\n\r\nnull",
        HEAD + b"Authorization: AWS4-HMAC-SHA256 Credential=a\r\nx-amz-date: now\r\ncontent-length: 2\r\n\r\n{}",
        HEAD + 'Content-Length: 9\r\n\r\n{"é": 1}'.encode(),
    ],
)
def test_it_is_plain(data: bytes) -> None:
    call = read(data)
    assert call is not None
    assert call.body == (data.partition(b"\r\n\r\n")[2] or b"{}")
    assert call.trace.endswith(call.served.first_lineage)
    assert call.request.call is call


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"content-length: 2\r\n\r\n{",
        HEAD + b"content-length: 2\r\n\r\n{}P",
        HEAD + b"content-length: +2\r\n\r\n{}",
        HEAD + b"content-length: 02\r\n\r\n{}",
        HEAD + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
        HEAD + b"content-length: 2\r\nhost: other\r\n\r\n{}",
        HEAD + b"content-length: 2\r\nconnection: close\r\n\r\n{}",
        HEAD + b"content-length: 2\r\nproxy-connection: close\r\n\r\n{}",
        HEAD + b"content-length: 2\r\nexpect: 100-continue\r\n\r\n{}",
        HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"content-length: 2\r\nupgrade: h2c\r\n\r\n{}",
        HEAD + b"content-length: 2\r\nauthorization: Bearer internal\r\n\r\n{}",
        HEAD + b"content-length: 2\r\ntraceparent: 00-1-1-00\r\n\r\n{}",
        HEAD + b"content-length: 2\r\nX-Amzn-Trace-Id: Root=1-1-1\r\n\r\n{}",
        HEAD + b"content-length: 2\r\nX-Amz-Invocation-Type: Event\r\n\r\n{}",
        HEAD + b"content-length: 2\r\nX-Amz-Log-Type: Tail\r\n\r\n{}",
        HEAD + b"content-length: 2\r\nX-Amz-Client-Context: e30=\r\n\r\n{}",
        HEAD + b"content-length: 2\r\na: b\r\n c\r\n\r\n{}",
        HEAD + b"content-length: 2\r\na: b\nc: d\r\n\r\n{}",
        HEAD + b"content-length: 2\r\na: b\x00\r\n\r\n{}",
        HEAD + b"content-length: 2\r\na: b\rc\r\n\r\n{}",
        HEAD + b"content-length: 2\r\na b: c\r\n\r\n{}",
        HEAD + b"content-length: 2\r\n" + b"a: b\r\n" * 11 + b"\r\n{}",
        HEAD + b"content-length: 1\r\n\r\n{",
        HEAD.replace(b"gateway", b"one,two") + b"content-length: 2\r\n\r\n{}",
        HEAD.replace(b"Host", b"Hose") + b"content-length: 2\r\n\r\n{}",
        HEAD.replace(b"POST", b"post") + b"content-length: 2\r\n\r\n{}",
        HEAD.replace(b"POST", b"GET") + b"content-length: 2\r\n\r\n{}",
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"content-length: 2\r\n\r\n{}",
        HEAD.replace(b"hello", b"nobody") + b"content-length: 2\r\n\r\n{}",
        b"\r\n" + HEAD + b"content-length: 2\r\n\r\n{}",
        b"",
        b"POST",
    ],
)
def test_it_goes_the_long_way_and_the_next_one_is_plain_again(data: bytes) -> None:
    assert read(data) is None
    assert read(HEAD + b"content-length: 2\r\n\r\n{}") is not None


def test_what_does_not_begin_here_is_a_request_that_can_be_sent_on_as_it_came() -> None:
    data = HEAD + b"X-B: two\r\nContent-Length: 2\r\n\r\n{}"
    request = make_reader(serves=False).read(Client(), data)  # type: ignore[arg-type]
    assert request is not None
    assert request.head + b"\r\n\r\n" + request.body == data
    assert request.call is None


def test_the_headers_of_a_plain_request_are_read_when_somebody_asks() -> None:
    call = read(HEAD + b"Cookie: a=1\r\nX-B:  two\r\nx-b: three\r\ncookie: c=2\r\nContent-Length: 2\r\n\r\n{}")
    assert call is not None
    assert call.request.fields == {
        b"host": b"gateway", b"cookie": b"a=1; c=2", b"x-b": b"two,three", b"content-length": b"2",
    }  # fmt: skip


NAMES = st.sampled_from(
    [
        b"Host", b"Content-Length", b"Connection", b"Transfer-Encoding", b"Expect", b"Upgrade", b"Cookie", b"X-A",
        b"x-a", b"Proxy-Connection", b"Authorization", b" X-B", b"X-B ", b"X\x00", b"", b"Content-Length ",
    ]
)  # fmt: skip
VALUES = st.sampled_from(
    [
        b"2", b"0", b"", b"gateway", b"keep-alive", b"close", b"chunked", b"a,b", b"\tx ", b"a\rb", b"a\nb", b"a\r\n b",
        b"\xe9", b"\x00", b"AWS4-HMAC-SHA256 x",
    ]
)  # fmt: skip
LINES = st.builds(lambda name, gap, value: name + gap + value, NAMES, st.sampled_from([b": ", b":", b":\t"]), VALUES)
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"])
BODIES = st.sampled_from([b"{}", b"", b"12", b"{}\r\n", b"[]GET / HTTP/1.1\r\n\r\n"])


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.tuples(LINES, ENDS), max_size=4), st.permutations([0, 1]), BODIES)
@example([(b"X-A: a\r\n b", b"\r\n")], [0, 1], b"{}")
def test_what_is_plain_is_read_alike_on_the_long_way(
    lines: list[tuple[bytes, bytes]], order: list[int], body: bytes
) -> None:
    framing = [b"Host: gateway\r\n", b"Content-Length: 2\r\n"]
    extra = b"".join(line + end for line, end in lines)
    data = b"POST " + URL + b" HTTP/1.1\r\n" + framing[order[0]] + extra + framing[order[1]] + b"\r\n" + body
    call = read(data)
    if call is None:
        return
    plain, long = call.request, read_long(data)
    assert long is not None
    assert (plain.method, plain.url, plain.body) == (long.method, long.url, long.body)
    assert (plain.keep_alive, plain.is_old, plain.fields) == (long.keep_alive, long.is_old, long.fields)
