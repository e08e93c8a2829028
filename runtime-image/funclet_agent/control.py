"""The agent's port: POST /v1/specialise and GET /v1/status, one request a connection.

The token is checked as soon as the head is there, so that nobody else can make the agent hold a body.
"""

import json
import socket
import time
from typing import Any

from funclet_agent.archive import ArchiveError
from funclet_agent.errors import AgentError
from funclet_agent.instance import Instance
from funclet_agent.loop import Loop
from funclet_agent.memory import MemoryLimit
from funclet_agent.specialisation import Specialisation, SpecialisationError
from funclet_agent.tokens import TokenCheck
from funclet_agent.wire import HEAD_END, MAX_HEAD_BYTES, RequestError, answer, body_length, parse_head

MAX_BODY_BYTES = 350 * 1024 * 1024
"""More than any package (250 MiB unzipped)."""
PROGRESS_NS = 10_000_000_000
"""A client that sends nothing for so long is cut off."""
LINGER_NS = 2_000_000_000
"""After the answer the client has so long to close, so that no reset overtakes the answer."""
MAX_CONNECTIONS = 64
SIZE_NS, SIZE_LOOK_NS = 30_000_000_000, 2_000_000
"""How long the function's memory is waited for, and how often looked for: a node gives it after 50 ms, or a second."""


class RefusalError(AgentError):
    """An answer other than 200."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class ControlServer:
    """Accepts and expires the connections of the agent's port."""

    def __init__(
        self, listener: socket.socket, loop: Loop, instance: Instance, token: TokenCheck, memory_limit: MemoryLimit
    ) -> None:
        self.listener = listener
        self.loop = loop
        self.instance = instance
        self.token = token
        self.memory_limit = memory_limit
        self.connections: set[ControlConnection] = set()
        self.waiting: ControlConnection | None = None
        """Who has brought the code, while the instance has less memory than the function was promised."""
        self.is_taken = False
        """There is code here. Should its bringer give up, the instance is of no use to anybody."""
        loop.watch(listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return
        if len(self.connections) >= MAX_CONNECTIONS:
            connection.close()
            return
        connection.setblocking(False)
        self.connections.add(ControlConnection(self, connection))

    @property
    def wake_at(self) -> int | None:
        """When the first connection expires or the memory is looked for, nanoseconds of CLOCK_MONOTONIC."""
        times = [connection.expires_at for connection in self.connections]
        if self.waiting is not None:
            times.append(time.monotonic_ns() + SIZE_LOOK_NS)
        return min(times, default=None)

    def look(self, now: int) -> None:
        """Begin with a function whose memory has come; cut off those whose time is up."""
        if self.waiting is not None:
            self.waiting.start_if_sized()
        for connection in [c for c in self.connections if c.expires_at <= now]:
            connection.close()


class ControlConnection:
    """One client."""

    def __init__(self, server: ControlServer, connection: socket.socket) -> None:
        self._server = server
        self._socket = connection
        self._buffer = bytearray()
        self._body_start = 0
        self._expected: int | None = None
        self._line = b""
        self._spec: Specialisation | None = None
        self._answered = False
        self.expires_at = time.monotonic_ns() + PROGRESS_NS
        server.loop.watch(connection.fileno(), self._read)

    def close(self) -> None:
        """For good."""
        self._server.loop.forget(self._socket.fileno())
        self._server.connections.discard(self)
        if self._server.waiting is self:
            self._server.waiting = None
        self._socket.close()

    def start_if_sized(self) -> None:
        """Start the function that is here, if the instance has its memory."""
        assert self._spec is not None
        if not self._server.memory_limit.is_at_least(self._spec.memory_mib):
            return
        self._server.waiting = None
        try:
            self._answer(200, {"slots": self._server.instance.start(self._spec)})
        except SpecialisationError as error:
            self._answer(400, {"message": str(error)})

    def _read(self) -> None:
        try:
            data = self._socket.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
        elif not self._answered and self._spec is None:
            self._buffer += data
            self.expires_at = time.monotonic_ns() + PROGRESS_NS
            self._proceed()

    def _proceed(self) -> None:
        try:
            if self._expected is None:
                self._take_head()
            if self._expected is not None and len(self._buffer) >= self._expected:
                self._handle()
        except RefusalError as refusal:
            self._answer(refusal.status, refusal.body)
        except (RequestError, SpecialisationError, ArchiveError) as error:
            self._answer(400, {"message": str(error)})

    def _take_head(self) -> None:
        end = self._buffer.find(HEAD_END, 0, MAX_HEAD_BYTES)
        if end < 0:
            if len(self._buffer) >= MAX_HEAD_BYTES:
                raise RequestError("the head is too long")
            return
        self._line, headers = parse_head(bytes(self._buffer[:end]))
        if not self._server.token.accepts(headers.get(b"x-funclet-token", b"")):
            raise RefusalError(401, {"message": "wrong token"})
        self._body_start = end + 4
        self._expected = self._body_start + body_length(headers, MAX_BODY_BYTES)

    def _handle(self) -> None:
        if self._line.startswith(b"GET /v1/status "):
            self._answer(200, self._server.instance.status())
        elif self._line.startswith(b"POST /v1/specialise "):
            self._specialise()
        else:
            raise RefusalError(404, {"message": "there are POST /v1/specialise and GET /v1/status"})

    def _specialise(self) -> None:
        server = self._server
        if server.instance.spec is not None:
            raise RefusalError(409, server.instance.identity())
        if server.is_taken:
            raise RefusalError(503, {"message": "the code of a function is here, and has waited for its memory"})
        with memoryview(self._buffer) as view, view[self._body_start : self._expected] as body:
            self._spec = server.instance.unpack(body)
        server.is_taken = True
        # The handler processes must not inherit the package.
        self._buffer = bytearray()
        self.expires_at = time.monotonic_ns() + SIZE_NS
        server.waiting = self
        self.start_if_sized()

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self._buffer = bytearray()
        self._answered = True
        self.expires_at = time.monotonic_ns() + LINGER_NS
        try:
            self._socket.send(answer(status, json.dumps(body).encode(), b"connection: close\r\n"))
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
