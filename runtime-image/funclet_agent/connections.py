"""The handler process's connections: one poll over listener, channel and gateways; whole requests come out.

All sockets are non-blocking. A body that does not come at once is waited for; nobody else is served meanwhile, and the
client must make progress: only who knows the token gets that far.
"""

import errno
import select
import socket

from funclet_agent.channel import CLOSED, CONNECTION, PART, Channel
from funclet_agent.state import PHASE, RECEIVING, State
from funclet_agent.tokens import TokenCheck
from funclet_agent.wire import (
    HEAD_END,
    MAX_HEAD_BYTES,
    RequestError,
    answer,
    body_length,
    parse_head,
    parse_headers,
)

MAX_BODY_BYTES = 16 * 1024 * 1024
"""More than any payload of Lambda (6 MiB); the gateway enforces that."""
PROGRESS_MS = 10_000
"""A client that neither sends nor takes a byte for this long is given up."""
MAX_CONNECTIONS = 200
"""More than there are gateways. Beyond it the oldest connection that has shown no token goes, or else the new one."""
CONSTANT_HEADERS = {b"host", b"x-funclet-token", b"content-type"}
"""What comes first in a gateway's request, and says nothing of the invocation."""
REQUEST_ID_NAME = b"\r\nlambda-runtime-aws-request-id: "
TRACE_ID_NAME = b"lambda-runtime-trace-id: "
LENGTH_LINE = b"content-length: %d"
"""All that comes last in a gateway's request if the caller wants nothing unusual, and how it writes them."""
NO_HEADERS: dict[bytes, bytes] = {}
CLOSED_HERE = (errno.EBADF, errno.ENOTSOCK)
"""What sending on a connection says that the function, not the client, has closed."""
CLOSE = b"connection: close\r\n"


class LostConnection(SystemExit):
    """Nothing can be sent to the waiting caller from here; the agent can."""


class Request:
    """One request with the right token. `headers` has none if it was of the usual kind."""

    __slots__ = ("body", "connection", "headers", "number", "request_id", "trace_id")

    def __init__(
        self,
        number: int,
        connection: socket.socket,
        request_id: bytes,
        trace_id: bytes,
        body: bytes,
        headers: dict[bytes, bytes] = NO_HEADERS,
    ) -> None:
        self.number = number
        self.connection = connection
        self.request_id = request_id
        self.trace_id = trace_id
        self.body = body
        self.headers = headers


class Connections:
    """All connections of one slot."""

    def __init__(
        self,
        listener: socket.socket,
        channel: Channel,
        state: State,
        token: TokenCheck,
        inherited: dict[int, socket.socket],
    ) -> None:
        self._listener = listener
        self._channel = channel
        self._state = state
        self._token = token
        self._next_number = max(inherited, default=0) + 1
        self._by_fd = {connection.fileno(): (number, connection) for number, connection in inherited.items()}
        self._partial: dict[int, bytes] = {}
        self._told: set[int] = set()
        """Of which connections the agent knows that a head came in pieces, by number."""
        self._memory = state.memory
        self._prefix = b""
        """How a request with the right token began, up to the request id, which is the first that changes."""
        self._unproven = dict.fromkeys(self._by_fd)
        self.poll = select.poll()
        for descriptor in (listener.fileno(), channel.fileno(), *self._by_fd):
            self.poll.register(descriptor, select.POLLIN)

    def accept(self) -> None:
        """Take a new connection, and give the agent a duplicate before anything is read from it."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            # The function has closed the listener, or left no descriptor free. A new process has both.
            raise SystemExit(f"cannot accept connections any more: {error.strerror}") from error
        if len(self._by_fd) >= MAX_CONNECTIONS and not self._evict():
            connection.close()
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = self._next_number
        self._next_number += 1
        self._channel.send_descriptors(CONNECTION, number, [connection.fileno()])
        self._by_fd[connection.fileno()] = (number, connection)
        self._unproven[connection.fileno()] = None
        self.poll.register(connection.fileno(), select.POLLIN)

    def _evict(self) -> bool:
        """Make room for a new connection, if any has shown no token."""
        oldest = next(iter(self._unproven), None)
        if oldest is not None:
            self.close(oldest)
        return oldest is not None

    def read(self, descriptor: int) -> Request | None:
        """Read from a connection that has something: a request, or None if there is none yet or it was refused.

        From then on the phase is RECEIVING: whatever is in hand is lost if this process dies.
        """
        number, connection = self._by_fd.get(descriptor, (0, None))
        if connection is None:
            # Evicted in the same round of the poll.
            return None
        self._memory[PHASE] = RECEIVING
        try:
            data = connection.recv(65536)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self.close(descriptor)
            return None
        if self._partial:
            data = self._partial.pop(descriptor, b"") + data
        if descriptor not in self._unproven:
            request = self._read_usual(number, connection, data)
            if request is not None:
                return request
        return self._read_any(number, connection, data)

    def _read_usual(self, number: int, connection: socket.socket, data: bytes) -> Request | None:
        """If it is whole, and three header lines are left of it: request id, trace id, length. How long the comparison
        takes tells where it ended; so it is for those alone who have shown the token.
        """
        prefix = self._prefix
        if not prefix or not data.startswith(prefix):
            return None
        parts = data[len(prefix) :].split(b"\r\n", 4)
        if len(parts) != 5:
            return None
        request_id, trace_id, length, nothing, body = parts
        if nothing or not trace_id.startswith(TRACE_ID_NAME) or length != LENGTH_LINE % len(body):
            return None
        return Request(number, connection, request_id, trace_id[len(TRACE_ID_NAME) :], body)

    def _read_any(self, number: int, connection: socket.socket, data: bytes) -> Request | None:
        end = data.find(HEAD_END)
        if end < 0 and len(data) <= MAX_HEAD_BYTES:
            self._keep_part(number, connection, data)
            return None
        try:
            return self._request(number, connection, data, end)
        except RequestError as error:
            self._refuse(connection, 400, str(error))
            return None

    def _keep_part(self, number: int, connection: socket.socket, data: bytes) -> None:
        self._partial[connection.fileno()] = data
        if number not in self._told:
            self._told.add(number)
            self._channel.send(PART, number)

    def _request(self, number: int, connection: socket.socket, data: bytes, end: int) -> Request | None:
        if end < 0:
            raise RequestError("the head is too long")
        headers = self._check_head(connection, data[:end])
        if headers is None:
            return None
        self._unproven.pop(connection.fileno(), None)
        body = data[end + 4 :]
        length = body_length(headers, MAX_BODY_BYTES)
        if len(body) < length:
            body = self._read_rest(number, connection, body, length)
        if len(body) != length:
            raise RequestError("the body's length is not Content-Length")
        request_id = headers.get(b"lambda-runtime-aws-request-id", b"")
        trace_id = headers.get(b"lambda-runtime-trace-id", b"")
        return Request(number, connection, request_id, trace_id, body, headers)

    def _check_head(self, connection: socket.socket, head: bytes) -> dict[bytes, bytes] | None:
        """The headers of a request that may be served; others are refused."""
        line, headers = parse_head(head)
        if not self._token.accepts(headers.get(b"x-funclet-token", b"")):
            self._refuse(connection, 401, "wrong token")
            return None
        if not line.startswith(b"POST /invoke "):
            self._unproven.pop(connection.fileno(), None)
            self._refuse(connection, 404, "only POST /invoke is served here")
            return None
        self._learn_prefix(head)
        return headers

    def _learn_prefix(self, head: bytes) -> None:
        """A gateway's requests all begin the same: what is checked once is compared from then on."""
        start, found, _ = head.partition(REQUEST_ID_NAME)
        names = parse_headers(start.partition(b"\r\n")[2])
        if found and b"x-funclet-token" in names and names.keys() <= CONSTANT_HEADERS:
            self._prefix = start + found

    def _read_rest(self, number: int, connection: socket.socket, start: bytes, length: int) -> bytes:
        """The rest of a body that did not come with its head; what is cut off comes back too short."""
        body = bytearray(start)
        self._state.begin_reading(number)
        while len(body) < length and _wait(connection, select.POLLIN):
            try:
                data = connection.recv(min(length - len(body), 1 << 20))
            except OSError:
                break
            if not data:
                break
            body += data
        self._state.phase = RECEIVING
        return bytes(body)

    def send(self, connection: socket.socket, data: bytes, patience_ms: int = PROGRESS_MS) -> bool:
        """Send all of it; False if the client is gone or takes nothing for so long (-1: whatever it takes)."""
        try:
            sent = connection.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            if error.errno in CLOSED_HERE:
                raise LostConnection(f"cannot answer: {error.strerror}") from error
            return False
        return sent == len(data) or self._send_rest(connection, memoryview(data)[sent:], patience_ms)

    def _send_rest(self, connection: socket.socket, rest: memoryview, patience_ms: int) -> bool:
        while rest:
            if not _wait(connection, select.POLLOUT, patience_ms):
                return False
            try:
                rest = rest[connection.send(rest) :]
            except OSError:
                return False
        return True

    def close(self, descriptor: int) -> None:
        """Close a connection, the agent's duplicate too."""
        number, connection = self._by_fd.pop(descriptor)
        self._partial.pop(descriptor, None)
        self._told.discard(number)
        self._unproven.pop(descriptor, None)
        self.poll.unregister(descriptor)
        self._channel.send(CLOSED, number)
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        finally:
            connection.close()

    def _refuse(self, connection: socket.socket, status: int, message: str) -> None:
        body = b'{"message":"%s"}' % message.encode()
        self.send(connection, answer(status, body, CLOSE))
        self.close(connection.fileno())


def _wait(connection: socket.socket, event: int, patience_ms: int = PROGRESS_MS) -> bool:
    """Until the socket is ready; False if nothing happened in time."""
    poll = select.poll()
    poll.register(connection, event)
    return bool(poll.poll(patience_ms))
