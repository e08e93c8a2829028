"""The callers' side: HTTP/1.1 on one connection, one request at a time, the next ones waiting their turn.

Every byte, count and second is bounded by `Limits`. A request that is not clear (Content-Length twice or beside
Transfer-Encoding, bare line feeds, …) is refused by llhttp in its strict mode or by `judge_head`, and the connection
closed: a proxy in front may have understood it otherwise. A caller that ends its side of the connection has gone: that
is how callers give up, and a FIN says no more than that (nginx and Go's net/http read it the same way).
"""

import asyncio
from collections import deque
from http import HTTPStatus
from typing import Protocol, cast

import httptools

from funclet.core.http_event import HttpAnswer, message_answer
from funclet.gateway.budget import Budget, Lease
from funclet.gateway.delivery import acknowledged_bytes
from funclet.gateway.limits import Limits
from funclet.gateway.request import Request, head_bytes, judge_head

REASONS = {status.value: status.phrase for status in HTTPStatus}
BODILESS = frozenset((204, 304))


class Owner(Protocol):
    """What a connection needs of the gateway."""

    answer_budget: Budget
    limits: Limits
    loop: asyncio.AbstractEventLoop
    request_budget: Budget
    stopping: bool

    @property
    def now(self) -> float:
        """The loop's time when it was last looked at, a quarter of a second ago at most: good enough for deadlines."""

    @property
    def date_header(self) -> str:
        """RFC 9110, 6.6.1, with its line's end."""

    def enter(self, client: "ClientProtocol") -> HttpAnswer | None:
        """A new connection; an answer if there are too many."""

    def handle(self, request: Request) -> None:
        """Answer this request, now or later, by `request.client.respond`."""

    def place(self, request: Request) -> None:
        """The same for one that was handled before and has not begun: its function may have moved."""

    def abandon(self, request: Request) -> None:
        """The caller went away before its answer."""

    def throttle(self, request: Request, *, paused: bool) -> None:
        """The caller does not read what it is sent of this request's answer; or it reads again."""

    def leave(self, client: "ClientProtocol") -> None:
        """This connection is closed."""

    def too_large(self, url: bytes) -> HttpAnswer:
        """The answer to a body beyond the limit."""

    def too_busy(self, url: bytes) -> HttpAnswer:
        """The answer to a body for which there is no room."""


class ClientProtocol(asyncio.Protocol):
    """One connection of a caller."""

    __slots__ = (
        "_body", "_body_size", "_current", "_cut", "_deadline", "_fault", "_fields", "_in_head", "_joined", "_limits",
        "_lingering", "_loop", "_owed", "_owner", "_parser", "_paused", "_queue", "_received", "_receiving", "_request",
        "_taken", "_transport", "_writable", "source_ip", "unread_bytes",
    )  # fmt: skip

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._limits = owner.limits
        self._loop = owner.loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._request = Request(self)
        self._fields = self._request.fields
        self._current: Request | None = None
        self._queue: deque[Request] = deque()
        self._body: list[bytes] = []
        self._received = self._body_size = self._joined = 0
        """Of the request that is being read: all bytes, those of its body, headers that came more than once."""
        self._owed = 0
        """Bytes of a body that the parser left out."""
        self._in_head = True
        self._receiving = False
        self._fault: HttpAnswer | None = None
        self._paused = False
        self._cut = False
        """Nothing after the requests that wait is looked at any more."""
        self._writable = True
        self.unread_bytes = 0
        """Bytes that the caller lets lie while we do not write."""
        self._taken = 0
        """What it had taken when its time to read on began."""
        self._lingering = False
        self._deadline = 0.0
        self.source_ip = ""

    # --- the connection ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller has connected."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's have its methods, not its class
        self.source_ip = (transport.get_extra_info("peername") or ("",))[0]
        self._deadline = self._owner.now + self._limits.head_seconds
        refusal = self._owner.enter(self)
        if refusal is not None:
            self._refuse(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has gone."""
        self._owner.leave(self)
        self._owner.answer_budget.give_back(self.unread_bytes)
        self._transport = self._request.lease = None
        self.unread_bytes = 0
        self._queue.clear()
        self._body.clear()
        if self._current is not None:
            current, self._current = self._current, None
            self._owner.abandon(current)

    def data_received(self, data: bytes) -> None:
        """Parse; complete requests are answered in their order."""
        rest = data
        while rest and not (self._lingering or self._cut):
            self._received += len(rest)
            if self._owed:
                rest = self._take_owed(rest)
                continue
            size = len(rest)
            try:
                self._parser.feed_data(rest)
                rest = b""
            except httptools.HttpParserUpgrade as upgrade:
                rest = self._decline_upgrade(rest[upgrade.args[0] :])
            except httptools.HttpParserError:
                rest = b""
                self._fail(message_answer(400, "Bad Request"))
            if self._received > self._limits.head_bytes + size:
                self._check_received(self._received - self._body_size - size)
        self._next()

    def _decline_upgrade(self, rest: bytes) -> bytes:
        """Nothing is upgraded: the request is answered as if it had not asked, and `rest` belongs to the next ones."""
        self._parser = httptools.HttpRequestParser(self)
        return rest if self._fault is None else b""

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
            self._fail(message_answer(431, "Request Header Fields Too Large"))
        elif overhead > self._limits.head_bytes + self._limits.framing_bytes:
            self._fail(self._owner.too_large(self._request.url))

    def _fail(self, answer: HttpAnswer) -> None:
        """The request that is being read will be refused, when those before it are answered."""
        self._fault = self._fault or answer
        self._body.clear()
        self._request.lease = None

    # --- callbacks of the parser ---

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._request = request = Request(self)
        self._fields = request.fields
        self._body = []
        self._body_size = self._joined = 0
        self._in_head = self._receiving = True
        self._deadline = self._owner.now + self._limits.head_seconds

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._request.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer, which goes nowhere."""
        name = name.lower()
        fields = self._fields
        if name in fields:
            self._joined += 1
            if self._joined > self._limits.headers:
                return
            value = fields[name] + (b"; " if name == b"cookie" else b",") + value
        fields[name] = value

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
            self._fail(refusal)
        elif self._received > limits.head_bytes and head_bytes(request) > limits.head_bytes:
            self._fail(message_answer(431, "Request Header Fields Too Large"))
        elif b"content-length" in fields and int(fields[b"content-length"]) > limits.body_bytes:
            self._fail(self._owner.too_large(request.url))
        else:
            if b"expect" in fields:
                self._expect(fields[b"expect"])
            if b"upgrade" in fields and parser.should_upgrade():
                self._owed = int(fields.get(b"content-length", b"0"))

    def _read_version(self, version: str) -> None:
        if version == "1.0":
            self._request.is_old = True
            self._request.keep_alive = False
        elif version != "1.1":
            self._fail(message_answer(505, "HTTP Version Not Supported"))

    def _expect(self, value: bytes) -> None:
        """RFC 9110, 10.1.1. Only when no earlier answer is due on this connection."""
        idle = self._current is None and not self._queue and self._fault is None
        if value.lower() == b"100-continue" and idle and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._fault is not None:
            return
        limits, now = self._limits, self._owner.now
        if not self._body:
            self._request.deadline = now + limits.body_seconds
            self._deadline = now + limits.body_gap_seconds
        else:
            self._deadline = min(self._request.deadline, now + limits.body_gap_seconds)
        self._body.append(body)
        self._body_size += len(body)
        if self._body_size > limits.small_bytes:
            self._check_body()

    def _check_body(self) -> None:
        request = self._request
        request.lease = request.lease or Lease(self._owner.request_budget)
        if self._body_size > self._limits.body_bytes:
            self._fail(self._owner.too_large(request.url))
        elif not request.lease.grow(self._body_size):
            self._fail(self._owner.too_busy(request.url))

    def on_message_complete(self) -> None:
        """A request is complete; it may be one of several in the same piece of data."""
        if self._fault is not None or self._cut or self._owed:
            return
        body = self._body
        self._request.body = body[0] if len(body) == 1 else b"".join(body)
        self._body = []
        self._in_head = True
        self._receiving = False
        self._received = 0
        self._queue.append(self._request)
        if len(self._queue) > self._limits.pipelined:
            self._request.keep_alive = False
            self._cut = True

    # --- answers ---

    def _next(self) -> None:
        """Begin with the next request, if this one is answered; read on only when none waits."""
        while self._queue and self._current is None and self._writable and self._transport is not None:
            self._current = self._queue.popleft()
            self._owner.handle(self._current)
        if self._transport is None:
            return
        if self._fault is not None and self._current is None and not self._queue and not self._lingering:
            self._refuse(self._fault)
        elif bool(self._queue) != self._paused:
            self._paused = not self._paused
            (self._transport.pause_reading if self._paused else self._transport.resume_reading)()

    def _refuse(self, answer: HttpAnswer) -> None:
        """The last answer of this connection, to a request that is not even complete."""
        assert self._transport is not None
        length = f"content-length: {len(answer.body)}\r\nconnection: close\r\n\r\n"
        self._transport.write(f"{self._head(answer)}{self._owner.date_header}{length}".encode() + answer.body)
        self._linger()

    def _linger(self) -> None:
        """End our side; the caller's is read and dropped for a while, since a reset would destroy the answer."""
        assert self._transport is not None
        self._lingering = True
        self._deadline = self._owner.now + self._limits.linger_seconds
        self._transport.write_eof()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def respond(self, request: Request, answer: HttpAnswer) -> None:
        """Send the answer to the current request."""
        if request is not self._current or self._transport is None:
            return
        head_only = request.method == b"HEAD"
        self.respond_raw(request, self._head(answer), answer.body, bodiless=head_only or answer.status in BODILESS)

    def respond_raw(self, request: Request, head: str, body: bytes, *, bodiless: bool = False) -> None:
        """Send a status line with headers (each with its CRLF) and a body."""
        if request is not self._current or self._transport is None:
            return
        keep_alive = request.keep_alive and not self._owner.stopping
        end = "\r\n" if keep_alive else "connection: close\r\n\r\n"
        length = f"content-length: {len(body)}\r\n" if not bodiless or body else ""
        text = f"{head}{self._owner.date_header}{length}{end}".encode()
        self._transport.write(text if bodiless else text + body)
        self._end_answer(request, keep_alive=keep_alive)

    def begin_stream(self, request: Request, head: str) -> bool:
        """Begin an answer whose length nobody knows yet. False: the caller is gone."""
        if request is not self._current or self._transport is None:
            return False
        keep_alive = request.keep_alive and not self._owner.stopping
        framing = "" if request.is_old else "transfer-encoding: chunked\r\n"
        end = "\r\n" if keep_alive else "connection: close\r\n\r\n"
        self._transport.write(f"{head}{self._owner.date_header}{framing}{end}".encode())
        return True

    def begin_answer(self, request: Request, answer: HttpAnswer) -> bool:
        """The same with this status and these headers."""
        return self.begin_stream(request, self._head(answer))

    def write_piece(self, request: Request, data: bytes) -> bool:
        """Send a part of it. False: the caller is gone."""
        if request is not self._current or self._transport is None:
            return False
        if data:
            self._transport.write(data if request.is_old else b"%x\r\n%b\r\n" % (len(data), data))
            self._count_unread(len(data))
        return True

    def _count_unread(self, size: int) -> None:
        """What is written to a caller that does not read lies here."""
        if not self._writable:
            self.unread_bytes += size
            self._owner.answer_budget.used_bytes += size

    def end_stream(self, request: Request, data: bytes = b"") -> None:
        """Send the last part."""
        if not self.write_piece(request, data):
            return
        assert self._transport is not None
        if not request.is_old:
            self._transport.write(b"0\r\n\r\n")
        self._end_answer(request, keep_alive=request.keep_alive and not self._owner.stopping)

    def cut_stream(self, request: Request) -> None:
        """Close the connection amid the answer, so that the caller sees that it is not whole."""
        if request is self._current and self._transport is not None:
            self._transport.close()

    def respond_with(self, request: Request, answer: bytes) -> None:
        """Send a whole answer as it is."""
        self.relay(request, answer, complete=True, keep_alive=True)

    def relay(self, request: Request, data: bytes, *, complete: bool, keep_alive: bool) -> None:
        """Send a part of an answer that is serialised already; `keep_alive` is what its head says."""
        if request is not self._current or self._transport is None:
            return
        self._transport.write(data)
        self._count_unread(len(data))
        if complete:
            self._end_answer(request, keep_alive=keep_alive)

    def place_again(self, request: Request) -> None:
        """Its function may have moved; nothing of it has begun."""
        if request is self._current:
            self._owner.place(request)

    @property
    def is_idle(self) -> bool:
        """Whether no answer is due."""
        return self._current is None

    def _end_answer(self, request: Request, *, keep_alive: bool) -> None:
        """The current request is answered."""
        assert self._transport is not None
        self._current = request.call = request.lease = None
        request.body = b""  # the parser's side keeps the request until the next one begins
        if not self._receiving and self._writable:
            self._deadline = self._owner.now + self._limits.idle_seconds
        if not keep_alive:
            if self._cut:
                self._linger()
            else:
                self._transport.close()
        elif self._queue or self._fault is not None:
            self._loop.call_soon(self._next)

    def _head(self, answer: HttpAnswer) -> str:
        headers = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        return f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Status')}\r\n{headers}"

    # --- callers that do not read ---

    def pause_writing(self) -> None:
        """The caller does not read its answers: begin nothing more for it."""
        assert self._transport is not None
        self._writable = False
        self.unread_bytes = self._transport.get_write_buffer_size()
        self._owner.answer_budget.used_bytes += self.unread_bytes
        self._taken = self._count_taken()
        self._deadline = self._owner.now + self._limits.read_seconds
        if self._current is not None:
            self._owner.throttle(self._current, paused=True)

    def resume_writing(self) -> None:
        """It reads again."""
        self._writable = True
        self._owner.answer_budget.give_back(self.unread_bytes)
        self.unread_bytes = 0
        if self._current is not None:
            self._owner.throttle(self._current, paused=False)
        elif not self._receiving and not self._lingering:
            self._deadline = self._owner.now + self._limits.idle_seconds
        self._next()

    def _count_taken(self) -> int:
        """A number that grows with every byte that the caller takes: our buffer alone shrinks in large steps."""
        assert self._transport is not None
        acknowledged = acknowledged_bytes(self._transport)
        return -self._transport.get_write_buffer_size() if acknowledged is None else acknowledged

    def _watch_reader(self, now: float) -> None:
        """It must take `read_bytes` in every `read_seconds`."""
        assert self._transport is not None
        unread = self._transport.get_write_buffer_size()
        self._owner.answer_budget.give_back(self.unread_bytes - unread)
        self.unread_bytes = unread
        taken = self._count_taken()
        if taken - self._taken >= self._limits.read_bytes:
            self._taken = taken
            self._deadline = now + self._limits.read_seconds
        elif now >= self._deadline:
            self._transport.abort()

    # --- time ---

    def sweep(self, now: float) -> None:
        """Close what has been silent for too long. While an answer is being made, no caller is late."""
        if self._transport is None:
            return
        if not self._writable:
            self._watch_reader(now)
        elif self._current is None and now >= self._deadline:
            if self._lingering or not self._receiving:
                self._transport.abort()
            else:
                self._refuse(message_answer(408, "Request Timeout"))

    def abort(self) -> None:
        """Close the connection whatever is due on it."""
        if self._transport is not None:
            self._transport.abort()

    def close_when_idle(self) -> None:
        """The gateway is stopping: close the connection unless an answer is due, which will close it."""
        if self._current is None and self._transport is not None:
            self._transport.close()
