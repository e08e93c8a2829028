"""Brings batches of telemetry to a listener inside the execution environment: one at a time, again until it has them.

Nothing here waits. By HTTP each batch has a connection of its own; by TCP all go over one.
"""

import errno
import socket
import time
from collections.abc import Callable

from funclet_agent.loop import READ, WRITE, Loop
from funclet_agent.telemetry_subscription import Subscription

HOST = "127.0.0.1"
FIRST_RETRY_NS = 100_000_000
LONGEST_RETRY_NS = 5_000_000_000
"""Lambda tries again "with backoff" and names no times."""
PATIENCE_NS = 5_000_000_000
"""For a listener to take a batch and to answer."""
MAX_ANSWER_BYTES = 65536
RECEIVE_BYTES = 4096


class Courier:
    """To one subscriber."""

    def __init__(self, loop: Loop, subscription: Subscription, on_delivered: Callable[[], None]) -> None:
        self._loop = loop
        self._subscription = subscription
        self._on_delivered = on_delivered
        self._socket: socket.socket | None = None
        self._batch = b""
        """What is to be brought; empty when there is nothing to do."""
        self._unsent = b""
        self._answer = b""
        self._retry_ns = FIRST_RETRY_NS
        self.wake_at: int | None = None
        """When to look again, nanoseconds of CLOCK_MONOTONIC."""

    @property
    def is_busy(self) -> bool:
        """Whether a batch is on its way, or waits for another try."""
        return bool(self._batch)

    def deliver(self, batch: bytes, now: int) -> None:
        """Not while it is busy."""
        self._batch = self._request(batch) if self._subscription.is_http else batch
        self._try(now)

    def _request(self, batch: bytes) -> bytes:
        to = self._subscription
        head = (
            f"{to.method} {to.path} HTTP/1.1\r\nhost: sandbox.localdomain:{to.port}\r\nconnection: close\r\n"
            f"content-type: application/json\r\ncontent-length: {len(batch)}\r\n\r\n"
        )
        return head.encode() + batch

    def _try(self, now: int) -> None:
        self._unsent, self._answer = self._batch, b""
        self.wake_at = now + PATIENCE_NS
        if self._socket is None and not self._connect():
            self._fail(now)
            return
        assert self._socket is not None
        self._loop.change(self._socket.fileno(), WRITE)
        self._ready()  # on this machine it is connected already

    def _connect(self) -> bool:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        if connection.connect_ex((HOST, self._subscription.port)) not in (0, errno.EINPROGRESS):
            connection.close()
            return False
        self._socket = connection
        self._loop.watch(connection.fileno(), self._ready, WRITE)
        return True

    def look(self, now: int) -> None:
        """The time that `wake_at` named has come: for another try, or the listener has had its time."""
        if self._unsent or self._socket is not None:
            self._fail(now)
        else:
            self._try(now)

    def _fail(self, now: int) -> None:
        self._hang_up()
        self._unsent = b""
        self.wake_at = now + self._retry_ns
        self._retry_ns = min(2 * self._retry_ns, LONGEST_RETRY_NS)

    def _ready(self) -> None:
        assert self._socket is not None
        try:
            if self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
                if not self._unsent:
                    self._sent()
            else:
                self._receive(self._socket.recv(RECEIVE_BYTES))
        except BlockingIOError:
            return
        except OSError:
            self._receive(b"")

    def _sent(self) -> None:
        assert self._socket is not None
        self._loop.change(self._socket.fileno(), READ)
        if not self._subscription.is_http:
            self._delivered()

    def _receive(self, data: bytes) -> None:
        """A part of the answer; nothing when the listener has hung up."""
        if self.is_busy and self._subscription.is_http:
            self._answer += data
            status = find_status(self._answer, ended=not data)
            if status is None:
                return
            if 200 <= status < 300:
                self._hang_up()
                self._delivered()
                return
        if self.is_busy:
            self._fail(time.monotonic_ns())
        elif not data:
            self._hang_up()

    def _delivered(self) -> None:
        self._batch, self.wake_at, self._retry_ns = b"", None, FIRST_RETRY_NS
        self._on_delivered()

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """What was not brought yet is lost."""
        self._hang_up()
        self._batch, self._unsent, self.wake_at = b"", b"", None


def find_status(answer: bytes, *, ended: bool) -> int | None:
    """The status of an answer that is whole; None while more may come, 0 if it is none. `ended`: no more comes."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not ended and len(answer) < MAX_ANSWER_BYTES and (not end or len(body) < _body_bytes(head)):
        return None
    words = head.split(maxsplit=2)
    return int(words[1]) if end and len(words) > 1 and words[1].isdigit() else 0


def _body_bytes(head: bytes) -> int:
    """As the head says; without that the body ends with the connection."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return MAX_ANSWER_BYTES
