"""One kept-alive connection to another gateway: a request at a time, its answer passed on as it comes."""

import asyncio
from typing import Protocol, cast

import httptools

from funclet.core.messages import Peer
from funclet.gateway.call import Relay, Request
from funclet.gateway.delivery import acknowledged_bytes
from funclet.gateway.relay import NOT_HOME, NOT_HOME_LINE

CONNECT_TIMEOUT_SECONDS = 0.5
CONNECT_LOOKS = 5
"""The time passes piece by piece: a process that stood still for all of it finds the connection made when it looks
again, and must not take the other gateway for gone."""


class Owner(Protocol):
    """What a connection tells."""

    def answered(self, request: Request, peer: Peer) -> None:
        """The whole answer has gone to the caller, and both connections can be kept."""

    def released(self, connection: "PeerConnection", *, reusable: bool) -> None:
        """A connection has nothing to do any more."""

    def closed(self, connection: "PeerConnection") -> None:
        """A connection is of no use any more."""

    def refused(self, connection: "PeerConnection", relay: Relay) -> None:
        """No connection could be opened."""

    def undelivered(self, relay: Relay) -> None:
        """Nothing of the request has reached the other gateway, or it is not the home."""

    def lost(self, relay: Relay) -> None:
        """The home had the request, and there is no (whole) answer."""


class PeerConnection(asyncio.Protocol):
    """One connection to another gateway, from its opening to its end."""

    __slots__ = (
        "_buffer",
        "_complete",
        "_connecting",
        "_data",
        "_framed",
        "_loop",
        "_owner",
        "_parser",
        "_relay",
        "_reusable",
        "_sent",
        "_sent_before",
        "_transport",
        "peer",
    )  # fmt: skip

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop, peer: Peer) -> None:
        self.peer = peer
        self._owner = owner
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._relay: Relay | None = None
        self._data = self._buffer = b""
        self._sent = self._sent_before = 0
        """Bytes written on this connection; those before the request that is on it."""
        self._complete = self._framed = self._reusable = False
        self._parser = httptools.HttpResponseParser(self)

    def send(self, relay: Relay, data: bytes) -> None:
        """Deliver a request; the owner hears of its end, once."""
        self._relay = relay
        self._data = data
        self._buffer = b""
        self._complete = self._framed = self._reusable = False
        if self._transport is not None:
            self._write()
        else:
            self._connecting = self._loop.create_task(self._connect())

    def _write(self) -> None:
        assert self._transport is not None
        self._sent_before = self._sent
        self._sent += len(self._data)
        self._transport.write(self._data)
        self._data = b""

    async def _connect(self) -> None:
        opening = self._loop.create_task(self._loop.create_connection(lambda: self, self.peer.host, self.peer.port))
        try:
            for _ in range(CONNECT_LOOKS):
                await asyncio.wait([opening], timeout=CONNECT_TIMEOUT_SECONDS / CONNECT_LOOKS)
            if not opening.done() and self._transport is None:
                raise TimeoutError
            await opening
        except (OSError, TimeoutError):
            relay, self._relay = self._relay, None
            self._owner.closed(self)
            if relay is not None:
                self._owner.refused(self, relay)
        finally:
            opening.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected: deliver what waited for that, unless it has just been told that nobody is there."""
        connected = cast("asyncio.Transport", transport)  # uvloop's have its methods, not its class
        if self._relay is None:
            connected.abort()
            return
        self._transport = connected
        self._write()

    def data_received(self, data: bytes) -> None:
        """A part of an answer."""
        relay = self._relay
        if relay is None:
            self.close()
            return
        if not relay.begun:
            data = self._buffer + data
            if len(data) < len(NOT_HOME_LINE):
                self._buffer = data
                return
            if data.startswith(NOT_HOME_LINE):
                self._end(relay, reusable=data == NOT_HOME and relay.keep_alive)
                self._owner.undelivered(relay)
                return
            self._framed = not relay.request.is_old or b"\r\ncontent-length:" in data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._break(relay)
            return
        self._pass_on(relay, data)

    def _pass_on(self, relay: Relay, data: bytes) -> None:
        relay.begun = True
        complete = self._complete
        if complete:
            self._end(relay, reusable=self._reusable)
            relay.request.relay = None
        relay.request.client.relay(relay.request, data, complete=complete, keep_alive=relay.keep_alive)
        if complete and relay.keep_alive:
            self._owner.answered(relay.request, self.peer)

    # --- callbacks of the parser ---

    def on_headers_complete(self) -> None:
        """The answer to a HEAD request ends here, whatever length it speaks of."""
        if self._relay is not None and self._relay.request.method == b"HEAD":
            self._complete = True

    def on_message_complete(self) -> None:
        """The answer is complete. The parser forgets it as soon as this returns."""
        self._complete = True
        self._reusable = self._parser.should_keep_alive()

    # --- the end ---

    def _end(self, relay: Relay, *, reusable: bool) -> None:
        self._relay = relay.connection = None
        self.throttle(paused=False)
        self._owner.released(self, reusable=reusable)

    def throttle(self, *, paused: bool) -> None:
        """Read no more for now, or read again."""
        if self._transport is not None:
            (self._transport.pause_reading if paused else self._transport.resume_reading)()

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by the other end, or by us, who wait for nothing then."""
        relay, transport = self._relay, self._transport
        if transport is None:
            return
        self._relay = self._transport = None
        self._owner.closed(self)
        if relay is None:
            return
        relay.connection = None
        if relay.begun and not self._framed and exc is None:
            relay.request.relay = None  # an answer to HTTP/1.0 ends with its connection
            relay.request.client.relay(relay.request, b"", complete=True, keep_alive=False)
        elif not relay.begun and self._is_undelivered(transport):
            self._owner.undelivered(relay)
        else:
            self._owner.lost(relay)

    def _is_undelivered(self, transport: asyncio.Transport) -> bool:
        acknowledged = acknowledged_bytes(transport)
        return acknowledged is not None and acknowledged <= self._sent_before

    def _break(self, relay: Relay) -> None:
        self._relay = relay.connection = None
        self.close()
        self._owner.lost(relay)

    def break_off(self) -> None:
        """The other gateway is gone, whether or not its machine says so."""
        relay = self._relay
        if relay is not None:
            self._break(relay)
        else:
            self.close()

    def close(self) -> None:
        """Drop the connection; nobody waits for it."""
        self._relay = None
        if self._connecting is not None and self._transport is None:
            self._connecting.cancel()
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.abort()
        self._owner.closed(self)
