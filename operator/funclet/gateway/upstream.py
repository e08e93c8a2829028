"""The instances' side: one kept-alive connection a slot.

The other end is a process that runs the user's code, so what it sends is not trusted: bounded, with exactly one
Content-Length, and nothing of its headers goes on but checked values.
"""

import asyncio
import re
from typing import Protocol, cast

from funclet.core.slots import Slot
from funclet.gateway.call import Call, InstanceAnswer

HEAD_LIMIT_BYTES = 64 * 1024
BODY_LIMIT_BYTES = 16 * 1024 * 1024
"""Above Lambda's 6 MB, which the instance enforces with an error of its own."""
CONNECT_TIMEOUT_SECONDS = 5
USUAL_HEAD = re.compile(
    rb"HTTP/1\.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: (\d{1,7})\r\n"
    rb"x-funclet-duration-us: (\d{1,15})\r\nx-funclet-max-memory-mib: \d{1,15}\r\n\r\n"
)
"""That of a warm success as the agent writes it. One match takes a third of the time of reading line by line."""


class Owner(Protocol):
    """What a slot's connection tells."""

    loop: asyncio.AbstractEventLoop

    def complete(self, slot: Slot, call: Call, answer: InstanceAnswer) -> None:
        """The instance has answered."""

    def undelivered(self, slot: Slot, call: Call) -> None:
        """Nothing of the call reached the instance."""

    def died(self, slot: Slot, call: Call) -> None:
        """The instance had the call and will not answer."""


class AnswerError(Exception):
    """The instance sent what is no answer of the contract."""


class SlotConnection(asyncio.Protocol):
    """The connection to one slot; opened when it is first needed, and again after it was lost."""

    __slots__ = ("_address", "_buffer", "_call", "_connecting", "_owner", "_prefix", "_slot", "_transport")

    def __init__(self, owner: Owner, slot: Slot) -> None:
        self._owner = owner
        self._slot = slot
        self._address = slot.instance.address
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._call: Call | None = None
        self._buffer = b""
        self._prefix = (
            f"POST /invoke HTTP/1.1\r\nhost: funclet\r\nx-funclet-token: {self._address.token}\r\n"
            "content-type: application/json\r\nlambda-runtime-aws-request-id: "
        ).encode()

    def send(self, call: Call) -> None:
        """Deliver a call; the owner hears of its end, once."""
        self._call = call
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._prefix + call.head + call.body)
        else:
            self.open()

    def open(self) -> None:
        """Connect, unless that is under way."""
        if self._connecting is None:
            self._connecting = self._owner.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                await self._owner.loop.create_connection(lambda: self, self._address.host, self._slot.port)
        except (OSError, TimeoutError):
            self._connecting = None
            call, self._call = self._call, None
            if call is not None:
                self._owner.undelivered(self._slot, call)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected: deliver what waited for that."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's have its methods, not its class
        self._connecting = None
        self._buffer = b""
        self._slot.instance.connect_failures = 0
        if self._call is not None:
            self._transport.write(self._prefix + self._call.head + self._call.body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by the other end, or by `close`."""
        self._transport = None
        self._lose_call()

    def _lose_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            self._owner.died(self._slot, call)

    def close(self) -> None:
        """Drop the connection at once; a call on it has died."""
        transport, self._transport = self._transport, None
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if transport is not None:
            transport.abort()
        self._lose_call()

    def cancel(self) -> None:
        """Drop the connection and the call on it, whose owner has answered it already."""
        self._call = None
        self.close()

    def data_received(self, data: bytes) -> None:
        """An answer, or a part of one."""
        if self._transport is None:
            return
        self._buffer = data = self._buffer + data if self._buffer else data
        call = self._call
        try:
            answer = parse_answer(data)
            if answer is None:
                return
            if call is None:
                raise AnswerError("an answer to nothing")
        except AnswerError:
            self.close()
            return
        self._buffer = b""
        self._call = None
        if answer.close:
            transport, self._transport = self._transport, None
            transport.abort()
        self._owner.complete(self._slot, call, answer)


def parse_answer(data: bytes) -> InstanceAnswer | None:
    """The answer in these bytes, None while it is not complete. Raises AnswerError."""
    usual = USUAL_HEAD.match(data)
    if usual is not None:
        size, duration_us = usual.groups()
        if len(data) - usual.end() == int(size):
            return InstanceAnswer(data[usual.end() :], int(duration_us))
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > HEAD_LIMIT_BYTES:
            raise AnswerError("the head is too long")
        return None
    lines = data[:end].split(b"\r\n")
    if not lines[0].startswith(b"HTTP/1.1 200"):
        raise AnswerError("the status is not 200")
    headers: dict[bytes, bytes] = {}
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    length = _parse_number(headers.get(b"content-length", b""))
    if length is None or length > BODY_LIMIT_BYTES:
        raise AnswerError("the length is missing or too large")
    have = len(data) - end - 4
    if have < length:
        return None
    if have > length:
        raise AnswerError("more than one answer")
    return _build_answer(headers, data[end + 4 :])


def _parse_number(value: bytes) -> int | None:
    return int(value) if value.isdigit() and len(value) < 16 else None


def _build_answer(headers: dict[bytes, bytes], body: bytes) -> InstanceAnswer:
    error = headers.get(b"x-amz-function-error")
    log = headers.get(b"x-amz-log-result", b"").decode("latin-1")
    return InstanceAnswer(
        body=body,
        duration_us=_parse_number(headers.get(b"x-funclet-duration-us", b"")),
        init_us=_parse_number(headers.get(b"x-funclet-init-us", b"")),
        error=None if error is None else "Handled" if error == b"Handled" else "Unhandled",
        log_result=log if log.isascii() and log.isprintable() else "",
        close=headers.get(b"connection", b"").lower() == b"close",
    )
