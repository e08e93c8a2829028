"""HTTP connections that the agent serves itself, on its loop: the Runtime API, and the slots of its runtimes.

One request at a time on each connection; the next one is read when the answer to the last is on its way.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from funclet_agent.http1 import Data, Event, Head, Headers, RequestReader
from funclet_agent.loop import READ, WRITE, Loop
from funclet_agent.streaming import encode_piece, ending
from funclet_agent.wire import RequestError, answer

MAX_CONNECTIONS = 200
"""More than there are gateways, or threads of a runtime that ask. Beyond it the oldest unproven one goes."""
MAX_AHEAD_BYTES = 65536
"""What a client may send before it has the answer to its last request."""
RECEIVE_BYTES = 256 * 1024
CLOSE = b"connection: close\r\n"


class Handler(Protocol):
    """What a server does with requests. Bodies are kept up to the exchange's limit."""

    def begin(self, exchange: "Exchange") -> None:
        """A head has come; it may be answered at once, and sets the limit of the body."""

    def end(self, exchange: "Exchange") -> None:
        """The request is complete."""

    def lost(self, exchange: "Exchange") -> None:
        """The client is gone before it was answered."""


class Exchange:
    """One request and its answer."""

    def __init__(self, connection: "Connection", head: Head) -> None:
        self.head = head
        self.body = bytearray()
        self.body_limit = 0
        """Bytes of body that are kept."""
        self.too_long = False
        """More than the limit came; the rest was dropped."""
        self.trailers: Headers = {}
        self.sink: Callable[[bytes], None] | None = None
        """Where the body goes as it comes, if it is not kept."""
        self.answered = False
        self.streaming = False
        """A part of its answer has been sent."""
        self._connection = connection

    def prove(self) -> None:
        """Its client may stay: it has shown the token, or needs none."""
        self._connection.proven = True

    def take(self, content: bytes) -> None:
        """A piece of the body."""
        if self.sink is not None:
            self.sink(content)
        elif len(self.body) + len(content) > self.body_limit:
            self.too_long = True
        else:
            self.body += content

    def respond(self, status: int, body: bytes, headers: bytes = b"", *, close: bool = False) -> None:
        """The whole answer; whether it arrives is the client's business."""
        if self.answered:
            return
        self.answered = True
        close = close or self._connection.is_last
        headers += CLOSE if close else b""
        data = ending(headers, body) if self.streaming else answer(status, body, headers)
        self._connection.send_answer(data, close=close)

    def send_piece(self, content_type: bytes, piece: bytes) -> int:
        """Begin the answer or go on with it; `respond` ends it. Returns the bytes that the client has not taken yet."""
        if self.answered:
            return 0
        self._connection.send(encode_piece(b"" if self.streaming else content_type, piece))
        self.streaming = True
        return self._connection.unsent_bytes

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call back once, when the client has taken all, or is gone."""
        self._connection.on_drained = callback

    def pause(self) -> None:
        """Read no more of the body."""
        self._connection.pause()

    def resume(self) -> None:
        """Read on."""
        self._connection.resume()


class Connection:
    """One client's connection."""

    def __init__(self, server: "HttpServer", connection: socket.socket) -> None:
        self._server = server
        self._socket = connection
        self._reader = RequestReader()
        self._exchange: Exchange | None = None
        self._complete = False
        self._unsent = bytearray()
        self._closing = False
        self._paused = False
        self.on_drained: Callable[[], None] | None = None
        self.proven = False
        server.loop.watch(connection.fileno(), self._ready)

    def close(self) -> None:
        """For good; a request without an answer is lost."""
        if self._socket.fileno() < 0:
            return
        self._server.loop.forget(self._socket.fileno())
        self._server.connections.pop(self, None)
        self._socket.close()
        self._tell_drained()
        exchange, self._exchange = self._exchange, None
        if exchange is not None and not exchange.answered:
            exchange.answered = True
            self._server.handler.lost(exchange)

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way, and no answer."""
        return self._exchange is None and not self._unsent

    @property
    def is_last(self) -> bool:
        """Whether nothing may follow the next answer."""
        return self._server.retired

    @property
    def unsent_bytes(self) -> int:
        """What the client has not taken yet."""
        return len(self._unsent)

    def pause(self) -> None:
        """Read nothing for now."""
        if self._socket.fileno() >= 0 and not self._paused:
            self._paused = True
            self._server.loop.change(self._socket.fileno(), 0)

    def resume(self) -> None:
        """Read on."""
        if self._socket.fileno() >= 0 and self._paused:
            self._paused = False
            self._server.loop.change(self._socket.fileno(), READ)

    def _tell_drained(self) -> None:
        callback, self.on_drained = self.on_drained, None
        if callback is not None:
            callback()

    def _ready(self) -> None:
        if self._unsent:
            self._flush()
        if self._socket.fileno() >= 0 and not self._closing:
            self._receive()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or self._reader.held_bytes > MAX_AHEAD_BYTES:
            self.close()
            return
        self._reader.feed(data)
        self._advance()

    def _advance(self) -> None:
        """Take what the reader has, up to the end of one request."""
        try:
            while not self._complete and not self._closing:
                event = self._reader.next_event()
                if event is None:
                    return
                self._take(event)
        except RequestError as error:
            self.send_answer(answer(400, b'{"message":"%s"}' % str(error).encode(), CLOSE), close=True)

    def _take(self, event: Event) -> None:
        if isinstance(event, Head):
            self._exchange = Exchange(self, event)
            if event.headers.get(b"expect", b"").lower() == b"100-continue":
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._server.handler.begin(self._exchange)
        elif self._exchange is None:
            return
        elif isinstance(event, Data):
            self._exchange.take(event.content)
        else:
            self._complete = True
            self._exchange.trailers = event.trailers
            if self._exchange.answered:
                self._finish()
            else:
                self._server.handler.end(self._exchange)

    def send_answer(self, data: bytes, *, close: bool) -> None:
        """The answer to the current request. One that came before the request's end closes the connection."""
        self.send(data)
        self._closing = close or not self._complete
        if self._socket.fileno() < 0:
            return
        if not self._closing:
            self._finish()
        elif not self._unsent:
            self._hang_up()

    def _finish(self) -> None:
        self._exchange, self._complete = None, False
        self._advance()

    def _hang_up(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.close()

    def send(self, data: bytes) -> None:
        """Send what the client takes now, and the rest when it can."""
        if not self._unsent:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
        if data:
            self._unsent += data
            self._server.loop.change(self._socket.fileno(), WRITE)

    def _flush(self) -> None:
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not self._unsent:
            self._server.loop.change(self._socket.fileno(), READ)
            self._tell_drained()
            if self._closing:
                self._hang_up()


class HttpServer:
    """Accepts connections on one listener."""

    def __init__(self, listener: socket.socket, loop: Loop, handler: Handler) -> None:
        self.listener = listener
        self.port = int(listener.getsockname()[1])
        """Where it listens."""
        self.loop = loop
        self.handler = handler
        self.connections: dict[Connection, None] = {}
        self.retired = False
        """Each answer is the last on its connection."""
        loop.watch(listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return
        if len(self.connections) >= MAX_CONNECTIONS and not self._evict():
            connection.close()
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections[Connection(self, connection)] = None

    def _evict(self) -> bool:
        """Make room for a new connection, if there is one that has shown no token."""
        oldest = next((connection for connection in self.connections if not connection.proven), None)
        if oldest is not None:
            oldest.close()
        return oldest is not None

    @property
    def is_sending(self) -> bool:
        """Whether a client has not taken its whole answer yet."""
        return any(connection.unsent_bytes for connection in self.connections)

    def retire(self) -> None:
        """Take no new connection, drop those that are idle, and the others after their answers."""
        self.retired = True
        self.loop.forget(self.listener.fileno())
        self.listener.close()
        for connection in [connection for connection in self.connections if connection.is_idle]:
            connection.close()

    def close(self) -> None:
        """Close all connections and the listener."""
        for connection in list(self.connections):
            connection.close()
        self.loop.forget(self.listener.fileno())
        self.listener.close()
