"""The instances' side: one kept-alive connection a slot."""

import asyncio
from typing import Protocol, cast

from funclet.core.slots import Slot
from funclet.gateway.answers import AnswerError, AnswerReader, NotBegunError
from funclet.gateway.budget import Budget, Lease
from funclet.gateway.call import Call, InstanceAnswer
from funclet.gateway.delivery import acknowledged_bytes
from funclet.gateway.usual_answer import find_usual_answer

CONNECT_TIMEOUT_SECONDS = 5
SMALL_ANSWER_BYTES = 64 * 1024
"""Answers up to this size are not counted in the gateway's budget of bytes."""


class Owner(Protocol):
    """What a slot's connection tells."""

    loop: asyncio.AbstractEventLoop
    budget: Budget

    def complete(self, slot: Slot, call: Call, answer: InstanceAnswer) -> None:
        """The instance has answered."""

    def stream(self, call: Call, content_type: str, pieces: list[bytes]) -> None:
        """A part of an answer that comes as a stream; the first time perhaps without any piece."""

    def hold(self, connection: "SlotConnection") -> None:
        """There is no room for the answer that comes: call `admit_answer` again when there may be."""

    def undelivered(self, slot: Slot, call: Call) -> None:
        """Nothing of the call reached the function."""

    def died(self, slot: Slot, call: Call) -> None:
        """The instance had the call and will not answer."""


class SlotConnection(asyncio.Protocol):
    """One connection to one slot, from its opening to its end; then the slot's next call opens another."""

    __slots__ = (
        "_address", "_connecting", "_lease", "_owner", "_patience", "_paused", "_prefix", "_reader", "_sent",
        "_sent_before", "_slot", "_transport", "call",
    )  # fmt: skip

    def __init__(self, owner: Owner, slot: Slot) -> None:
        slot.channel = self
        self._owner = owner
        self._slot = slot
        self._address = slot.instance.address
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._patience = asyncio.timeout(CONNECT_TIMEOUT_SECONDS)
        self.call: Call | None = None
        """The one that is on it."""
        self._reader: AnswerReader | None = None
        self._lease: Lease | None = None
        self._paused = False
        self._sent = self._sent_before = 0
        """Bytes written on this connection; those before the call that is on it."""
        self._prefix = (
            f"POST /invoke HTTP/1.1\r\nhost: funclet\r\nx-funclet-token: {self._address.token}\r\n"
            "content-type: application/json\r\nlambda-runtime-aws-request-id: "
        )

    def send(self, call: Call) -> None:
        """Deliver a call; the owner hears of its end, once."""
        self.call = call
        transport = self._transport
        if transport is None:
            self.open()
            return
        body = call.body
        head = (
            f"{self._prefix}{call.request_id}\r\nlambda-runtime-trace-id: {call.trace}\r\n{call.more}"
            f"content-length: {len(body)}\r\n\r\n"
        )
        data = head.encode() + body
        self._sent_before = self._sent
        self._sent += len(data)
        transport.write(data)

    def open(self) -> None:
        """Connect, unless that is under way."""
        if self._connecting is None:
            self._connecting = self._owner.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            async with self._patience:
                await self._owner.loop.create_connection(lambda: self, self._address.host, self._slot.port)
        except (OSError, TimeoutError):
            call = self._retire()
            if call is not None:
                self._owner.undelivered(self._slot, call)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected: deliver what waited for that, unless it has just been told that nobody is there."""
        connected = cast("asyncio.Transport", transport)  # uvloop's have its methods, not its class
        if self._slot.channel is not self or self._patience.expired():
            connected.abort()
            return
        self._patience.reschedule(None)  # from here on a call may be delivered
        self._transport = connected
        if self.call is not None:
            self.send(self.call)

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by the other end, or by us."""
        self._lose()

    def _retire(self) -> Call | None:
        """The connection is of no use any more. Returns the call that was on it."""
        if self._slot.channel is self:
            self._slot.channel = None
        if self._transport is not None:
            self._transport.abort()
        call, self.call = self.call, None
        self._transport = self._reader = self._lease = None
        return call

    def _lose(self) -> None:
        """Drop the connection. The call on it is tried elsewhere, but only if none of it was delivered."""
        undelivered = self.call is not None and self._reader is None and self._is_undelivered()
        call = self._retire()
        if call is not None:
            (self._owner.undelivered if undelivered else self._owner.died)(self._slot, call)

    def _give_back(self) -> None:
        """The function has seen nothing of the call: it is tried elsewhere, once."""
        call = self._retire()
        if call is None:
            return
        again = not call.given_back
        call.given_back = True
        (self._owner.undelivered if again else self._owner.died)(self._slot, call)

    def _is_undelivered(self) -> bool:
        if self._transport is None:
            return True
        acknowledged = acknowledged_bytes(self._transport)
        return acknowledged is not None and acknowledged <= self._sent_before

    def close(self) -> None:
        """Drop the connection at once; a call on it has died."""
        if self._connecting is not None:
            self._connecting.cancel()
        self._lose()

    def cancel(self) -> None:
        """Drop the connection and the call on it, whose owner has answered it already."""
        self.call = None
        self.close()

    def pause(self) -> None:
        """Read no more of the answer; the instance waits when what lies between is full."""
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and self._paused:
            self._paused = False
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """An answer, or a part of one."""
        if self._transport is None:
            return
        call = self.call
        if call is not None and self._reader is None and not self._paused:
            usual = find_usual_answer(data)
            if usual is not None:
                slot, self.call = self._slot, None
                slot.instance.connect_failures = 0
                self._owner.complete(slot, call, usual)
                return
        try:
            self._read(data)
        except NotBegunError:
            self._give_back()
        except AnswerError:
            self._lose()

    def _read(self, data: bytes) -> None:
        call, reader = self.call, self._reader
        if call is None:
            raise AnswerError("an answer to nothing")
        if reader is None:
            reader = self._reader = AnswerReader()
        reader.feed(data)
        if reader.chunked:
            if not call.wants_stream:
                raise AnswerError("a stream that nobody asked for")
            self._owner.stream(call, reader.content_type, reader.take())
        if reader.done:
            if self.call is call:
                self._complete(reader.answer())
        elif self._lease is None and reader.length > SMALL_ANSWER_BYTES:
            self.admit_answer()

    def admit_answer(self) -> None:
        """Read on if there is room for the whole answer, or else when there is."""
        if self._reader is None or self._transport is None:
            return
        lease = self._lease or Lease(self._owner.budget)
        self._lease = lease
        if lease.grow(self._reader.length):
            self.resume()
        else:
            self.pause()
            self._owner.hold(self)

    def _complete(self, answer: InstanceAnswer) -> None:
        """The owner may send the next call from within."""
        call, self.call = self.call, None
        assert call is not None
        lease, self._lease = self._lease, None  # until the answer is written
        self._reader = None
        self._slot.instance.connect_failures = 0
        if answer.close:
            self._retire()
        self.resume()
        self._owner.complete(self._slot, call, answer)
        del lease
