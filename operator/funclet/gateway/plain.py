"""Plain invocations, which nearly all are: whole, small, and without a header that asks for anything.

They are read without a callback for each header: llhttp judges their bytes as it does all others, and one search finds
the headers that mean something here. With any but Host, Content-Length and `Connection: keep-alive` a request is not
plain. What is not plain goes the long way (`reading`, `lambda_stage`), which also words every refusal.
"""

import re
from collections.abc import Callable, Mapping

import httptools

from funclet.core.lambda_api import is_plain_json
from funclet.gateway.call import Call, Caller, Request, Served
from funclet.gateway.identifiers import new_request_id, new_trace_id
from funclet.gateway.lambda_reply import LambdaReply
from funclet.gateway.limits import Limits
from funclet.gateway.tracing import Tracer

LINES_LIMIT = 4096
"""Request lines that are remembered."""
LINE = re.compile(rb"POST (/[!-~]+) HTTP/1\.1")
find_meaningful = re.compile(
    rb"\n(host:(?:[^,\r]*,)?|con(?:nection|tent-length):[^\r]*|[ \t]|authorization:[ \t]*bearer|expect:"
    rb"|proxy-connection:|t(?:raceparent|ransfer-encoding):|upgrade:"
    rb"|x-(?:am(?:z-(?:client-context|invocation-type|log-type)|zn-trace-id):|funclet-))"
).findall
"""In a head in lower case. A comma in Host would be a second one; white space continues the header before it."""
SMALLEST_HEADER_BYTES = len("a:\r\n")


class PlainReader:
    """Turns plain invocations into calls."""

    def __init__(
        self,
        find_plain: Callable[[bytes], tuple[str, str] | None],
        functions: Mapping[str, Served],
        serves: Callable[[str, Caller], bool] | None,
        limits: Limits,
        tracer: Tracer | None = None,
    ) -> None:
        self._find_plain = find_plain
        self._functions = functions
        self._serves = serves
        """Whether calls of this function begin here and now; None: all do."""
        self._tracer = tracer
        self._size_limit = min(limits.head_bytes, limits.body_bytes, limits.small_bytes)
        self._headers_limit = limits.headers
        self._lines: dict[bytes, tuple[str, bytes, str]] = {}
        """Of request lines: the function, the URL, and what the instance is told beside the usual."""
        self._judge = httptools.HttpRequestParser(None)
        self._reply = LambdaReply()

    def read(self, client: Caller, data: bytes) -> Request | None:
        """The request that is all there is in `data`; None: it is not plain, and nothing has happened.

        Without a call it may not begin here and now."""
        head, _, body = data.partition(b"\r\n\r\n")
        line = head[: head.find(b"\r")]
        known = self._lines.get(line) or self._read_line(line)
        if known is None:
            return None
        key, url, more = known
        served = self._functions.get(key)
        if served is None or (revision := served.revision) is None or len(data) > self._size_limit:
            return None
        if not (is_plain_head(head, len(body), self._headers_limit) and (not body or is_plain_json(body))):
            return None
        try:
            self._judge.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._judge = httptools.HttpRequestParser(None)
            return None
        request = Request(client, b"POST", url, head, body)
        if self._serves is None or self._serves(key, client):
            request.call = call = Call(served, revision, request, self._reply, new_request_id(), body or b"{}")
            call.more = more
            trace = new_trace_id(served.first_lineage)
            call.trace = trace if self._tracer is None else self._tracer.begin_trace(call, trace)
        return request

    def _read_line(self, line: bytes) -> tuple[str, bytes, str] | None:
        match = LINE.fullmatch(line)
        found = self._find_plain(match[1]) if match else None
        if match is None or found is None:
            return None
        if len(self._lines) >= LINES_LIMIT:
            self._lines.clear()
        known = self._lines[line] = found[0], match[1], found[1]
        return known


def is_plain_head(head: bytes, body_size: int, headers_limit: int) -> bool:
    """Whether a head announces a body of this size, and nothing else that means something."""
    found = find_meaningful(head.lower())
    return (
        b"host:" in found
        and b"content-length: %d" % body_size in found
        and (len(found) == 2 or (len(found) == 3 and b"connection: keep-alive" in found))
        and (len(head) <= headers_limit * SMALLEST_HEADER_BYTES or head.count(b"\n") <= headers_limit)
    )
