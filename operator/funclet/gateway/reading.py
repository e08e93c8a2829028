"""Reads requests from the bytes of one caller's connection, and refuses what is not clear or too much.

llhttp in its strict mode and `judge_head` say what is not clear (Content-Length twice or beside Transfer-Encoding, bare
line feeds, …): a proxy in front may have understood it otherwise. No I/O.
"""

import logging
from collections import deque
from typing import Protocol

import httptools

from funclet.core.http_event import HttpAnswer, message_answer
from funclet.gateway.budget import Budget, Lease
from funclet.gateway.call import Caller, Request, add_field
from funclet.gateway.head_rules import head_bytes, judge_head
from funclet.gateway.limits import Limits

log = logging.getLogger(__name__)


class Bounds(Protocol):
    """What reading needs of the gateway."""

    limits: Limits
    request_budget: Budget

    @property
    def now(self) -> float:
        """The loop's time when it was last looked at, a quarter of a second ago at most: good enough for deadlines."""

    def body_limit(self, url: bytes) -> int:
        """The most bytes of a body, asked where it is more than `limits.body_bytes`."""

    def too_large(self, url: bytes) -> HttpAnswer:
        """The answer to a body beyond the limit."""

    def too_busy(self, url: bytes) -> HttpAnswer:
        """The answer to a body for which there is no room."""


class RequestReader:
    """After each `feed`: complete requests in `queue`; `fault` is the answer to the one behind them, the last."""

    __slots__ = (
        "_body", "_body_deadline", "_body_size", "_bounds", "_client", "_fields", "_in_head", "_joined", "_limits",
        "_owed", "_parser", "_request", "cut", "deadline", "fault", "queue", "received",
        "receiving", "rule",
    )  # fmt: skip

    def __init__(self, client: Caller, bounds: Bounds) -> None:
        self._client = client
        self._bounds = bounds
        self._limits = bounds.limits
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request(client)
        self._fields = self._request.fields
        self._body: list[bytes] = []
        self.received = self._body_size = self._joined = 0
        """Of the request that is being read: all bytes, those of its body, headers that came more than once."""
        self._owed = 0
        """Bytes of a body that the parser left out."""
        self._in_head = True
        self.receiving = False
        """A request has begun and is not complete."""
        self.deadline = 0.0
        """When the next piece of it must have come."""
        self._body_deadline = 0.0
        """When all of its body must have come."""
        self.queue: deque[Request] = deque()
        self.fault: HttpAnswer | None = None
        self.rule = ""
        """Which one the faulty request broke."""
        self.cut = False
        """Nothing after the requests that wait is looked at any more."""

    @property
    def is_between(self) -> bool:
        """Whether all that has come are whole requests, and none of them waits."""
        return not (self.receiving or self.queue or self.cut or self.fault is not None)

    def drop(self) -> None:
        """The caller has gone, nothing more will come: keep nothing, not even a cycle for the garbage collector."""
        self.queue.clear()
        self._body.clear()
        self._fields = {}
        del self._parser, self._request, self._client

    def feed(self, data: bytes) -> None:
        """More bytes of the caller."""
        rest = data
        while rest and not self.cut:
            self.received += len(rest)
            if self._owed:
                rest = self._take_owed(rest)
                continue
            size = len(rest)
            try:
                self._parser.feed_data(rest)
                rest = b""
            except httptools.HttpParserUpgrade as upgrade:
                rest = self._decline_upgrade(rest[upgrade.args[0] :])
            except httptools.HttpParserCallbackError:
                rest = b""
                log.exception("request not read")  # a fault of ours, not the caller's
                self._fail(message_answer(500, "Internal Server Error"), "none")
            except httptools.HttpParserError as error:
                rest = b""
                self._fail(message_answer(400, "Bad Request"), str(error))
            if self.received > self._limits.head_bytes + size:
                self._check_received(self.received - self._body_size - size)

    def _decline_upgrade(self, rest: bytes) -> bytes:
        """Nothing is upgraded: the request is answered as if it had not asked, and `rest` belongs to the next ones."""
        self._parser = httptools.HttpRequestParser(self)
        return rest if self.fault is None else b""

    def _take_owed(self, data: bytes) -> bytes:
        """The body of a request that offers an upgrade: httptools takes what follows its head for another protocol."""
        body = data[: self._owed]
        self._owed -= len(body)
        self.on_body(body)
        if not self._owed:
            self.on_message_complete()
        return data[len(body) :]

    def _check_received(self, overhead: int) -> None:
        """`overhead`: what has come beside the body, but for the last piece of data."""
        if self._in_head and overhead > self._limits.head_bytes:
            self._fail(message_answer(431, "Request Header Fields Too Large"), "head_bytes")
        elif overhead > self._limits.head_bytes + self._limits.framing_bytes:
            self._fail(self._bounds.too_large(self._request.url), "framing_bytes")

    def _fail(self, answer: HttpAnswer, rule: str) -> None:
        """The request that is being read will be refused, when those before it are answered."""
        if self.fault is None:
            self.fault, self.rule = answer, rule
        self._body.clear()
        self._request.lease = None

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._request = request = Request(self._client)
        self._fields = request.fields
        self._body = []
        self._body_size = self._joined = 0
        self._in_head = self.receiving = True
        self.deadline = self._bounds.now + self._limits.head_seconds

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._request.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer, which goes nowhere."""
        if self._joined <= self._limits.headers:
            self._joined += add_field(self._fields, name.lower(), value)

    def on_headers_complete(self) -> None:
        """Refuse what is not clear or too large before it is read."""
        self._in_head = False
        request, parser, fields, limits = self._request, self._parser, self._fields, self._limits
        self._fields = {}
        request.method = parser.get_method()
        request.keep_alive = parser.should_keep_alive()
        if not request.keep_alive or b"connection" in fields:
            self._read_version(parser.get_http_version())
        refusal = judge_head(request, len(fields) + self._joined, limits)
        if refusal is not None:
            self._fail(*refusal)
        elif self.received > limits.head_bytes and head_bytes(request) > limits.head_bytes:
            self._fail(message_answer(431, "Request Header Fields Too Large"), "head_bytes")
        elif b"content-length" in fields and self._is_too_large(int(fields[b"content-length"])):
            self._fail(self._bounds.too_large(request.url), "body_bytes")
        else:
            if fields.get(b"expect", b"").lower() == b"100-continue" and not self.queue and self.fault is None:
                self._client.invite()
            if b"upgrade" in fields and parser.should_upgrade():
                self._owed = int(fields.get(b"content-length", b"0"))

    def _read_version(self, version: str) -> None:
        if version == "1.0":
            self._request.is_old = True
            self._request.keep_alive = False
        elif version != "1.1":
            self._fail(message_answer(505, "HTTP Version Not Supported"), "HTTP/1.0 or HTTP/1.1")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self.fault is not None:
            return
        limits, now = self._limits, self._bounds.now
        if not self._body:
            self._body_deadline = now + limits.body_seconds
            self.deadline = now + limits.body_gap_seconds
        else:
            self.deadline = min(self._body_deadline, now + limits.body_gap_seconds)
        self._body.append(body)
        self._body_size += len(body)
        if self._body_size > limits.small_bytes:
            self._check_body()

    def _is_too_large(self, size: int) -> bool:
        return size > self._limits.body_bytes and size > self._bounds.body_limit(self._request.url)

    def _check_body(self) -> None:
        request = self._request
        request.lease = request.lease or Lease(self._bounds.request_budget)
        if self._is_too_large(self._body_size):
            self._fail(self._bounds.too_large(request.url), "body_bytes")
        elif not request.lease.grow(self._body_size):
            self._fail(self._bounds.too_busy(request.url), "BODY_LIMIT_MIB")

    def on_message_complete(self) -> None:
        """A request is complete; it may be one of several in the same piece of data."""
        if self.fault is not None or self.cut or self._owed:
            return
        body = self._body
        self._request.body = body[0] if len(body) == 1 else b"".join(body)
        self._body = []
        self._in_head = True
        self.receiving = False
        self.received = 0
        self.queue.append(self._request)
        if len(self.queue) > self._limits.pipelined:
            self._request.keep_alive = False
            self.cut = True
