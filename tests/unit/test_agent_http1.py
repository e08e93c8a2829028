"""The agent's parser of HTTP/1.1 requests: the same events however the bytes are cut, and refusals."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet_agent.http1 import Data, Head, RequestReader
from funclet_agent.wire import RequestError

REQUESTS = (
    b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
    b"POST /one HTTP/1.1\r\nContent-Length: 5\r\nX-Two: 1\r\nx-two: 2\r\n\r\nhello"
    b"POST /two HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nEnd: yes\r\n\r\n"
    b"POST /three HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"
)
EXPECTED = [
    (b"GET", b"/next", {b"host": b"a"}, b"", {}),
    (b"POST", b"/one", {b"content-length": b"5", b"x-two": b"1, 2"}, b"hello", {}),
    (b"POST", b"/two", {b"transfer-encoding": b"chunked"}, b"hello world", {b"end": b"yes"}),
    (b"POST", b"/three", {b"transfer-encoding": b"Chunked"}, b"", {}),
]


def read(pieces: list[bytes]) -> list[Any]:
    reader, found, body = RequestReader(), [], b""
    head = None
    for piece in pieces:
        reader.feed(piece)
        while (event := reader.next_event()) is not None:
            if isinstance(event, Head):
                head, body = event, b""
            elif isinstance(event, Data):
                body += event.content
            else:
                assert head is not None
                found.append((head.method, head.target, head.headers, body, event.trailers))
    return found


@given(st.lists(st.integers(min_value=0, max_value=len(REQUESTS))))
def test_where_the_bytes_are_cut_makes_no_difference(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(REQUESTS)]
    assert read([REQUESTS[a:b] for a, b in pairwise(places)]) == EXPECTED


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /x HTTP/2\r\n\r\n",
        b"GET x HTTP/1.1\r\n\r\n",
        b"GET /x\r\n\r\n",
        b"GET /x HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /x HTTP/1.1\r\n folded: 1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nname : 1\r\n\r\n",
        b"GET /x HTTP/1.1\r\na: 1\nb: 2\r\n\r\n",
        b"GET /x HTTP/1.1\r\na: \0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /x HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2000,
        b"GET /x HTTP/1.1\r\na: " + b"b" * 70000,
    ],
)
def test_what_is_ambiguous_is_refused(request_bytes: bytes) -> None:
    with pytest.raises(RequestError):
        read([request_bytes])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read([data])
    except RequestError:
        return
