"""The callers' side: HTTP/1.1 on one connection, one request at a time, the next ones waiting their turn.

Bounds: 64 KiB for request line and headers, 6 MiB for the body, 30 s for the headers and between two pieces of the
body, 10 minutes without a request. A request that is not clear (Content-Length twice or beside Transfer-Encoding, bare
line feeds, …) is refused by llhttp in its strict mode, and the connection closed: a proxy in front may have understood
it otherwise.
"""

import asyncio
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from funclet.core.http_event import HttpAnswer, message_answer
from funclet.core.lambda_api import BODY_LIMIT_BYTES

if TYPE_CHECKING:
    from funclet.gateway.call import Call

HEAD_LIMIT_BYTES = 64 * 1024
HEAD_TIMEOUT_SECONDS = 30
BODY_TIMEOUT_SECONDS = 30
IDLE_TIMEOUT_SECONDS = 600
LINGER_SECONDS = 2
"""After a refusal the rest of the request is read and dropped for so long: a reset would destroy the answer."""

REASONS = {status.value: status.phrase for status in HTTPStatus}
BODILESS = frozenset((204, 304))


class Request:
    """One request, complete."""

    __slots__ = ("body", "call", "client", "fields", "keep_alive", "method", "url")

    def __init__(self, client: "ClientProtocol") -> None:
        self.client = client
        self.call: Call | None = None
        """The invocation that it has become, until it is answered."""
        self.url = b""
        self.fields: dict[bytes, bytes] = {}
        """Headers by name in lower case; several of one name are joined (RFC 9110, 5.3; cookies: RFC 9113, 8.2.3)."""
        self.body = b""
        self.method = b""
        self.keep_alive = True


def _head_bytes(request: Request) -> int:
    """What its head takes, without the delimiters."""
    return len(request.url) + sum(len(name) + len(value) for name, value in request.fields.items())


class Owner(Protocol):
    """What a connection needs of the gateway."""

    date_header: str
    clients: "set[ClientProtocol]"
    loop: asyncio.AbstractEventLoop
    now: float
    """The loop's time when it was last looked at, a quarter of a second ago at most: good enough for deadlines."""
    stopping: bool

    def handle(self, request: Request) -> None:
        """Answer this request, now or later, by `request.client.respond`."""

    def abandon(self, request: Request) -> None:
        """The caller went away before its answer."""

    def leave(self, client: "ClientProtocol") -> None:
        """This connection is closed."""

    def too_large(self, url: bytes) -> HttpAnswer:
        """The answer to a body beyond the limit."""


class ClientProtocol(asyncio.Protocol):
    """One connection of a caller."""

    __slots__ = (
        "_body", "_body_size", "_current", "_deadline", "_fault", "_fields", "_head_size", "_in_head", "_lingering",
        "_loop", "_owner", "_parser", "_paused", "_queue", "_request", "_transport", "_writable", "source_ip",
    )  # fmt: skip

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._loop = owner.loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._request = Request(self)
        self._fields = self._request.fields
        self._current: Request | None = None
        self._queue: deque[Request] = deque()
        self._body: list[bytes] = []
        self._head_size = self._body_size = 0
        self._in_head = True
        self._fault: HttpAnswer | None = None
        self._paused = False
        self._writable = True
        self._lingering = False
        self._deadline = 0.0
        self.source_ip = ""

    # --- the connection ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller has connected."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's have its methods, not its class
        self.source_ip = (transport.get_extra_info("peername") or ("",))[0]
        self._deadline = self._owner.now + HEAD_TIMEOUT_SECONDS
        self._owner.clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has gone."""
        self._owner.leave(self)
        self._transport = None
        self._queue.clear()
        if self._current is not None:
            current, self._current = self._current, None
            self._owner.abandon(current)

    def pause_writing(self) -> None:
        """The caller does not read its answers: begin nothing more for it."""
        self._writable = False

    def resume_writing(self) -> None:
        """It reads again."""
        self._writable = True
        self._next()

    def data_received(self, data: bytes) -> None:
        """Parse; complete requests are answered in their order."""
        if self._lingering:
            return
        self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._continue_after_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._fault = self._fault or message_answer(400, "Bad Request")
        if self._in_head and self._head_size > HEAD_LIMIT_BYTES + len(data):
            self._fault = self._fault or message_answer(431, "Request Header Fields Too Large")
        self._next()

    def _continue_after_upgrade(self, rest: bytes) -> None:
        """Nothing is upgraded: the request was answered as if it had not asked."""
        if self._fault is not None:
            return
        self._parser = httptools.HttpRequestParser(self)
        if rest:
            self.data_received(rest)

    # --- callbacks of the parser ---

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._request = request = Request(self)
        self._fields = request.fields
        self._body = []
        self._in_head = True
        self._deadline = self._owner.now + HEAD_TIMEOUT_SECONDS

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._request.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer, which goes nowhere."""
        name = name.lower()
        fields = self._fields
        if name in fields:
            value = fields[name] + (b"; " if name == b"cookie" else b",") + value
        fields[name] = value

    def on_headers_complete(self) -> None:
        """Refuse what is too large before it is read."""
        self._in_head = False
        request, parser, fields = self._request, self._parser, self._fields
        self._fields = {}
        request.method = parser.get_method()
        request.keep_alive = parser.should_keep_alive() and (
            b"connection" not in fields or parser.get_http_version() == "1.1"
        )
        if request.method == b"CONNECT":
            self._fault = self._fault or message_answer(400, "Bad Request")
        if self._head_size > HEAD_LIMIT_BYTES and _head_bytes(request) > HEAD_LIMIT_BYTES:
            self._fault = self._fault or message_answer(431, "Request Header Fields Too Large")
        self._body_size = 0
        if int(fields.get(b"content-length", b"0")) > BODY_LIMIT_BYTES:
            self._fault = self._fault or self._owner.too_large(request.url)
        elif b"expect" in fields:
            self._expect(fields[b"expect"])

    def _expect(self, value: bytes) -> None:
        """RFC 9110, 10.1.1. Only when no earlier answer is due on this connection."""
        idle = self._current is None and not self._queue and self._fault is None
        if value.lower() == b"100-continue" and idle and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._fault is not None:
            return
        self._body.append(body)
        self._body_size += len(body)
        self._deadline = self._owner.now + BODY_TIMEOUT_SECONDS
        if self._body_size > BODY_LIMIT_BYTES:
            self._body.clear()
            self._fault = self._owner.too_large(self._request.url)

    def on_message_complete(self) -> None:
        """A request is complete; it may be one of several in the same piece of data."""
        if self._fault is not None:
            return
        body = self._body
        self._request.body = body[0] if len(body) == 1 else b"".join(body)
        self._body = []
        self._in_head = True
        self._head_size = 0
        self._queue.append(self._request)

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
        self._lingering = True
        self._deadline = self._owner.now + LINGER_SECONDS
        self._transport.write(self._encode(answer, keep_alive=False))
        self._transport.write_eof()

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
        self._current = request.call = None
        self._deadline = self._owner.now + IDLE_TIMEOUT_SECONDS
        if not keep_alive:
            self._transport.close()
        elif self._queue or self._fault is not None:
            self._loop.call_soon(self._next)

    def _head(self, answer: HttpAnswer) -> str:
        headers = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        return f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Status')}\r\n{headers}"

    def _encode(self, answer: HttpAnswer, *, keep_alive: bool) -> bytes:
        end = "" if keep_alive else "connection: close\r\n"
        head = f"{self._head(answer)}{self._owner.date_header}content-length: {len(answer.body)}\r\n{end}\r\n"
        return head.encode() + answer.body

    # --- time ---

    def sweep(self, now: float) -> None:
        """Close what has been silent for too long. While an answer is being made, no caller is late."""
        if self._transport is None or self._current is not None or now < self._deadline:
            return
        if self._lingering or (self._in_head and self._head_size == 0):
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
