"""The callers' side: HTTP/1.1 on one connection, one request at a time, the next ones waiting their turn.

Every byte, count and second is bounded by `Limits`. What `reading` refuses is answered after the requests before it,
and the connection closed. A caller that ends its side of the connection has gone: that is how callers give up, and a
FIN says no more than that (nginx and Go's net/http read it the same way).
"""

import asyncio
from typing import Protocol, cast

from funclet.core.handover import NO_ROW, Row
from funclet.core.http_event import HttpAnswer, message_answer
from funclet.gateway.budget import Budget
from funclet.gateway.call import Call, Request
from funclet.gateway.heads import BODILESS, CLOSING, KEPT, WHOLE, encode_head
from funclet.gateway.plain import PlainReader
from funclet.gateway.reading import Bounds, RequestReader
from funclet.gateway.refusals import Refusals
from funclet.gateway.unread import Unread


class Owner(Bounds, Protocol):
    """What a connection needs of the gateway."""

    answer_budget: Budget
    loop: asyncio.AbstractEventLoop
    refusals: Refusals
    stopping: bool

    @property
    def plain(self) -> PlainReader:
        """How plain invocations are read."""

    @property
    def date_header(self) -> bytes:
        """RFC 9110, 6.6.1, with its line's end."""

    def enter(self, client: "ClientProtocol") -> HttpAnswer | None:
        """A new connection; an answer if there are too many."""

    def handle(self, request: Request) -> None:
        """Answer this request, now or later, by `request.client.respond`."""

    def submit(self, call: Call) -> None:
        """Answer a plain invocation, now or later."""

    def place(self, request: Request) -> None:
        """The same for one that was handled before and has not begun: its function may have moved."""

    def abandon(self, request: Request) -> None:
        """The caller went away before its answer."""

    def throttle(self, request: Request, *, paused: bool) -> None:
        """The caller does not read what it is sent of this request's answer; or it reads again."""

    def leave(self, client: "ClientProtocol") -> None:
        """This connection is closed."""


class ClientProtocol(asyncio.Protocol):
    """One connection of a caller."""

    __slots__ = (
        "_current", "_deadline", "_is_between", "_limits", "_lingering", "_loop", "_owner", "_paused",
        "_plain", "_queue", "_reader", "_transport", "_unread", "answered", "moves", "row", "source_ip",
    )  # fmt: skip

    row: Row
    """The calls in a row that are at home at one sibling (`core.handover`)."""

    def __init__(self, owner: Owner, moves: int = 0) -> None:
        self._owner = owner
        self._limits = owner.limits
        self._loop = owner.loop
        self._plain = owner.plain
        self._reader = RequestReader(self, owner)
        self._queue = self._reader.queue
        self._transport: asyncio.Transport | None = None
        self._current: Request | None = None
        self._paused = False
        self._unread: Unread | None = None
        """There is some while the caller does not read."""
        self._lingering = False
        self._is_between = True
        """Whether all that has come are whole requests, none of them waits, and more may come."""
        self._deadline = 0.0
        """Of a connection on which no request is being read or answered."""
        self.source_ip = ""
        self.moves = moves
        """How often this connection was handed over from process to process; then it has had its first request."""
        self.answered = 0
        """Requests on this connection, here."""
        self.row = NO_ROW

    # --- the connection ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller has connected."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's have its methods, not its class
        self.source_ip = (transport.get_extra_info("peername") or ("",))[0]
        limits = self._limits
        self._deadline = self._owner.now + (limits.idle_seconds if self.moves else limits.head_seconds)
        refusal = self._owner.enter(self)
        if refusal is not None:
            self._refuse(refusal, "CLIENT_LIMIT")

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has gone."""
        self._owner.leave(self)
        self._transport = None
        self._reader.drop()
        if self._unread is not None:
            self._unread.end()
        if self._current is not None:
            current, self._current = self._current, None
            self._owner.abandon(current)

    def data_received(self, data: bytes) -> None:
        """Read; complete requests are answered in their order."""
        if self._current is None and self._is_between and self._unread is None:
            request = self._plain.read(self, data)
            if request is not None:
                self._reader.received = 0
                self._current = request
                if request.call is not None:
                    self._owner.submit(request.call)
                else:
                    self._owner.handle(request)
                return
        if not self._lingering:
            self._reader.feed(data)
            self._next()

    def invite(self) -> None:
        """The caller waits for a word until it sends the body (RFC 9110, 10.1.1); it has one if no answer is due."""
        if self._current is None and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # --- answers ---

    def _next(self) -> None:
        """Begin with the next request, if this one is answered; read on only when none waits."""
        while self._queue and self._current is None and self._unread is None and self._transport is not None:
            self._current = self._queue.popleft()
            self._owner.handle(self._current)
        self._is_between = self._reader.is_between and not self._lingering
        if self._transport is None:
            return
        fault = self._reader.fault
        if fault is not None and self._current is None and not self._queue and not self._lingering:
            self._refuse(fault, self._reader.rule)
        elif bool(self._queue) != self._paused:
            self._paused = not self._paused
            (self._transport.pause_reading if self._paused else self._transport.resume_reading)()

    def _refuse(self, answer: HttpAnswer, rule: str) -> None:
        """The last answer of this connection, to a request that is not even complete."""
        assert self._transport is not None
        owner = self._owner
        owner.refusals.note(owner.now, answer.status, rule, self.source_ip, self.answered, self.moves)
        head, body = encode_head(answer), answer.body
        self._transport.write(WHOLE % (head, self._owner.date_header, len(body), CLOSING, body))
        self._linger()

    def _linger(self) -> None:
        """End our side; the caller's is read and dropped for a while, since a reset would destroy the answer."""
        assert self._transport is not None
        self._lingering = True
        self._is_between = False
        self._deadline = self._owner.now + self._limits.linger_seconds
        self._transport.write_eof()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def respond(self, request: Request, answer: HttpAnswer) -> None:
        """Send the answer to the current request."""
        head = encode_head(answer)
        if request.method == b"HEAD" or answer.status in BODILESS:
            self._respond_bodiless(request, head, answer.body)
        else:
            self.respond_raw(request, head, answer.body)

    def respond_raw(self, request: Request, head: bytes, body: bytes) -> None:
        """Send a status line with headers (each with its CRLF) and a body."""
        if request is not self._current or self._transport is None:
            return
        owner = self._owner
        keep_alive = request.keep_alive and not owner.stopping
        end = KEPT if keep_alive else CLOSING
        self._transport.write(WHOLE % (head, owner.date_header, len(body), end, body))
        self._end_answer(request, keep_alive)

    def _respond_bodiless(self, request: Request, head: bytes, body: bytes) -> None:
        """Send the head alone; if there would be a body, with its length."""
        length = b"content-length: %d\r\n" % len(body) if body else b""
        if self._begin(request, head, length):
            self._end_answer(request, self._keeps(request))

    def begin_stream(self, request: Request, head: bytes) -> bool:
        """Begin an answer whose length nobody knows yet. False: the caller is gone."""
        return self._begin(request, head, b"" if request.is_old else b"transfer-encoding: chunked\r\n")

    def _begin(self, request: Request, head: bytes, framing: bytes) -> bool:
        """Send a head. False: the caller is gone."""
        if request is not self._current or self._transport is None:
            return False
        end = KEPT if self._keeps(request) else CLOSING
        self._transport.write(b"%b%b%b%b" % (head, self._owner.date_header, framing, end))
        return True

    def _keeps(self, request: Request) -> bool:
        """Whether the connection is kept when this request is answered."""
        return request.keep_alive and not self._owner.stopping

    def write_piece(self, request: Request, data: bytes) -> bool:
        """Send a part of it. False: the caller is gone."""
        if request is not self._current or self._transport is None:
            return False
        if data:
            self._transport.write(data if request.is_old else b"%x\r\n%b\r\n" % (len(data), data))
            if self._unread is not None:
                self._unread.grow(len(data))
        return True

    def end_stream(self, request: Request, data: bytes = b"") -> None:
        """Send the last part."""
        if not self.write_piece(request, data):
            return
        assert self._transport is not None
        if not request.is_old:
            self._transport.write(b"0\r\n\r\n")
        self._end_answer(request, self._keeps(request))

    def cut_stream(self, request: Request) -> None:
        """Close the connection amid the answer, so that the caller sees that it is not whole."""
        if request is self._current and self._transport is not None:
            self._transport.close()

    def relay(self, request: Request, data: bytes, *, complete: bool, keep_alive: bool) -> None:
        """Send a part of an answer that is serialised already; `keep_alive` is what its head says."""
        if request is not self._current or self._transport is None:
            return
        self._transport.write(data)
        if self._unread is not None:
            self._unread.grow(len(data))
        if complete:
            self._end_answer(request, keep_alive)

    def place_again(self, request: Request) -> None:
        """Its function may have moved; nothing of it has begun."""
        if request is self._current:
            self._owner.place(request)

    @property
    def is_idle(self) -> bool:
        """Whether no answer is due, and no request has begun that will want one."""
        return self._current is None and not self._reader.receiving

    @property
    def is_quiet(self) -> bool:
        """Whether nothing of this connection is here: no request that has begun, and no byte of an answer."""
        transport = self._transport
        if self._current is not None or self._unread is not None or transport is None or transport.is_closing():
            return False  # one that closes is not ours any more: it has been handed over perhaps
        return self._is_between and not transport.get_write_buffer_size()

    @property
    def descriptor(self) -> int:
        """Of the connection's socket."""
        assert self._transport is not None
        number: int = self._transport.get_extra_info("socket").fileno()
        return number

    def _end_answer(self, request: Request, keep_alive: bool) -> None:
        """The current request is answered."""
        assert self._transport is not None
        self.answered += 1
        self._current = request.call = request.lease = None
        request.body = b""  # the parser's side keeps the request until the next one begins
        self._deadline = self._owner.now + self._limits.idle_seconds
        if not keep_alive:
            if self._reader.cut:
                self._linger()
            else:
                self._transport.close()
        elif self._queue or self._reader.fault is not None:
            self._loop.call_soon(self._next)

    # --- callers that do not read, and time ---

    @property
    def unread_bytes(self) -> int:
        """What the caller lets lie."""
        return 0 if self._unread is None else self._unread.size

    def pause_writing(self) -> None:
        """The caller does not read its answers: begin nothing more for it."""
        assert self._transport is not None
        self._unread = Unread(self._transport, self._owner.answer_budget, self._limits, self._owner.now)
        if self._current is not None:
            self._owner.throttle(self._current, paused=True)

    def resume_writing(self) -> None:
        """It reads again."""
        if self._unread is not None:
            self._unread.end()
            self._unread = None
        if self._current is not None:
            self._owner.throttle(self._current, paused=False)
        self._next()

    def sweep(self, now: float) -> None:
        """Close what has been silent for too long. While an answer is being made, no caller is late."""
        if self._transport is None:
            return
        if self._unread is not None:
            if self._unread.is_too_slow(now):
                self._transport.abort()
        elif self._lingering or not self._reader.receiving:
            if self._current is None and now >= self._deadline:
                self._transport.abort()
        elif self._current is None and now >= self._reader.deadline:
            self._refuse(message_answer(408, "Request Timeout"), "seconds for a head, a body and its pieces")

    def abort(self) -> None:
        """Close the connection whatever is due on it."""
        if self._transport is not None:
            self._transport.abort()

    def close_when_idle(self) -> None:
        """The gateway is stopping: close the connection unless a request has begun, whose answer will close it.

        Who has connected and not asked for anything is about to: it has a moment.
        """
        if self._transport is None or not self.is_idle or self._lingering:
            return
        if self.answered or self.moves:
            self._transport.close()
        else:
            self._deadline = self._owner.now + self._limits.first_seconds
