"""Requests whose function has its home at another gateway, on their way there and back.

A request goes as it came, with what only this gateway knows of its caller, on a kept-alive connection, one request at a
time; the answer's bytes come back as the home wrote them, and are passed on as they come. So the caller is answered
exactly as if it had reached the home itself, errors and streams included.

The home answers 421 with a reason of its own when it is not the home by its own list: lists reach gateways within
milliseconds of each other, so the request is tried again. Nobody passes on what was passed on to it.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol, cast

import httptools

from funclet.core.messages import Peer
from funclet.gateway.delivery import acknowledged_bytes
from funclet.gateway.request import Request

log = logging.getLogger(__name__)

TOKEN = b"x-funclet-peer-token"
SOURCE = b"x-funclet-peer-source"
PASSED_OVER = b"x-funclet-peer-passed-over"
NOT_HOME = b"HTTP/1.1 421 Not Home\r\ncontent-length: 0\r\n\r\n"
"""A function cannot answer this: the reason phrase of a 421 that it chooses is another one."""
NOT_HOME_LINE = NOT_HOME.partition(b"\r\n")[0]
NOT_FORWARDED = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"transfer-encoding",
        b"content-length",
        b"upgrade",
        b"expect",
        TOKEN,
        SOURCE,
        PASSED_OVER,
    )
)
"""Of the connection (RFC 9110, 7.6.1), or for us to say."""

CONNECT_TIMEOUT_SECONDS = 0.5
PLACE_SECONDS = 5.0
"""So long a home is looked for."""
RETRY_SECONDS = 0.005
IDLE_CONNECTIONS = 256
"""Kept open to each other gateway."""


class Relay:
    """One request that another gateway answers."""

    __slots__ = ("begun", "connection", "deadline", "keep_alive", "key", "request", "tried")

    def __init__(self, request: Request, key: str, deadline: float) -> None:
        self.request = request
        self.key = key
        self.deadline = deadline
        self.connection: PeerConnection | None = None
        self.begun = False
        """The caller has got a part of the answer."""
        self.keep_alive = True


class Owner(Protocol):
    """What forwarding needs of the gateway's place among the others."""

    loop: asyncio.AbstractEventLoop

    def find_peer(self, key: str) -> Peer | None:
        """Where the home of this function is; None: here."""

    def encode(self, relay: Relay) -> bytes:
        """The request as the home gets it."""

    def come_back(self, request: Request) -> None:
        """The home is here now."""

    def pass_over(self, peer: Peer) -> None:
        """This gateway refuses connections."""

    def refuse(self, relay: Relay, *, delivered: bool) -> None:
        """There will be no answer. `delivered`: the home may have begun with it."""


class Forwarder:
    """All connections to other gateways."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._idle: dict[str, list[PeerConnection]] = {}
        self._busy: dict[str, set[PeerConnection]] = {}

    def forward(self, request: Request, key: str) -> None:
        """Have another gateway answer this request, whichever is the function's home."""
        relay = request.relay = Relay(request, key, self._owner.loop.time() + PLACE_SECONDS)
        self._send(relay)

    def _send(self, relay: Relay) -> None:
        if relay.request.relay is not relay:
            return  # its caller went away
        peer = self._owner.find_peer(relay.key)
        if peer is None:
            relay.request.relay = None
            self._owner.come_back(relay.request)
            return
        idle = self._idle.get(peer.id)
        connection = idle.pop() if idle else PeerConnection(self, self._owner.loop, peer)
        self._busy.setdefault(peer.id, set()).add(connection)
        relay.connection = connection
        connection.send(relay, self._owner.encode(relay))

    def _retry(self, relay: Relay) -> None:
        if self._owner.loop.time() > relay.deadline:
            self._give_up(relay, delivered=False)
        else:
            self._owner.loop.call_later(RETRY_SECONDS, self._send, relay)

    def _give_up(self, relay: Relay, *, delivered: bool) -> None:
        if relay.request.relay is relay:
            relay.request.relay = None
            self._owner.refuse(relay, delivered=delivered)

    def abandon(self, relay: Relay) -> None:
        """The caller went away: so do we."""
        relay.request.relay = None
        if relay.connection is not None:
            relay.connection.close()

    def throttle(self, relay: Relay, *, paused: bool) -> None:
        """The caller does not read its answer, or reads again."""
        if relay.connection is not None:
            relay.connection.throttle(paused=paused)

    # --- what connections tell ---

    def released(self, connection: "PeerConnection", *, reusable: bool) -> None:
        """A connection has nothing to do any more."""
        self._busy.get(connection.peer.id, set()).discard(connection)
        idle = self._idle.setdefault(connection.peer.id, [])
        if reusable and len(idle) < IDLE_CONNECTIONS:
            idle.append(connection)
        else:
            connection.close()

    def closed(self, connection: "PeerConnection") -> None:
        """A connection is of no use any more."""
        self._busy.get(connection.peer.id, set()).discard(connection)
        idle = self._idle.get(connection.peer.id)
        if idle and connection in idle:
            idle.remove(connection)

    def refused(self, connection: "PeerConnection", relay: Relay) -> None:
        """No connection could be opened."""
        log.info("peer unreachable", extra={"peer": connection.peer.id})
        self._owner.pass_over(connection.peer)
        self._retry(relay)

    def undelivered(self, relay: Relay) -> None:
        """Nothing of the request has reached the other gateway, or it is not the home."""
        self._retry(relay)

    def lost(self, relay: Relay) -> None:
        """The home had the request, and there is no (whole) answer."""
        self._give_up(relay, delivered=True)

    # --- the others ---

    def drop(self, names: Iterable[str]) -> None:
        """These gateways are gone."""
        for name in names:
            for connection in [*self._idle.pop(name, ()), *self._busy.pop(name, ())]:
                connection.break_off()

    def close(self) -> None:
        """Close all connections."""
        self.drop({*self._idle, *self._busy})


class PeerConnection(asyncio.Protocol):
    """One connection to another gateway, from its opening to its end."""

    __slots__ = (
        "_buffer", "_complete", "_connecting", "_data", "_forwarder", "_framed", "_loop", "_parser", "_relay",
        "_reusable", "_sent", "_sent_before", "_transport", "peer",
    )  # fmt: skip

    def __init__(self, forwarder: Forwarder, loop: asyncio.AbstractEventLoop, peer: Peer) -> None:
        self.peer = peer
        self._forwarder = forwarder
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._relay: Relay | None = None
        self._data = self._buffer = b""
        self._sent = self._sent_before = 0
        """Bytes written on this connection; those before the request that is on it."""
        self._complete = self._framed = self._reusable = False

    def send(self, relay: Relay, data: bytes) -> None:
        """Deliver a request; the forwarder hears of its end, once."""
        self._relay = relay
        self._data = data
        self._buffer = b""
        self._complete = self._framed = self._reusable = False
        self._parser = httptools.HttpResponseParser(self)
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
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                await self._loop.create_connection(lambda: self, self.peer.host, self.peer.port)
        except (OSError, TimeoutError):
            relay, self._relay = self._relay, None
            self._forwarder.closed(self)
            if relay is not None:
                self._forwarder.refused(self, relay)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected: deliver what waited for that."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's have its methods, not its class
        if self._relay is None:
            self.close()
        else:
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
                self._end(relay, reusable=data == NOT_HOME)
                self._forwarder.undelivered(relay)
                return
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

    # --- callbacks of the parser ---

    def on_header(self, name: bytes, _: bytes) -> None:
        """A header."""
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._framed = True

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
        self._forwarder.released(self, reusable=reusable)

    def throttle(self, *, paused: bool) -> None:
        """Read no more for now, or read again."""
        if self._transport is not None:
            (self._transport.pause_reading if paused else self._transport.resume_reading)()

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by the other end, or by us."""
        relay, transport = self._relay, self._transport
        self._relay = self._transport = None
        self._forwarder.closed(self)
        if relay is None:
            return
        relay.connection = None
        if relay.begun and not self._framed and exc is None:
            relay.request.relay = None  # an answer to HTTP/1.0 ends with its connection
            relay.request.client.relay(relay.request, b"", complete=True, keep_alive=False)
        elif not relay.begun and self._is_undelivered(transport):
            self._forwarder.undelivered(relay)
        else:
            self._forwarder.lost(relay)

    def _is_undelivered(self, transport: asyncio.Transport | None) -> bool:
        acknowledged = None if transport is None else acknowledged_bytes(transport)
        return acknowledged is not None and acknowledged <= self._sent_before

    def _break(self, relay: Relay) -> None:
        self._relay = relay.connection = None
        self.close()
        self._forwarder.lost(relay)

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
        self._forwarder.closed(self)


def encode_request(request: Request, keep_alive: bool, extra: bytes) -> bytes:
    """The request as it came, but for what concerns its connection; `extra` are further header lines."""
    lines = [b"%b: %b\r\n" % item for item in request.fields.items() if item[0] not in NOT_FORWARDED]
    if request.body or b"content-length" in request.fields:
        lines.append(b"content-length: %d\r\n" % len(request.body))
    if not keep_alive:
        lines.append(b"connection: close\r\n")
    elif request.fields.get(b"connection", b"").lower() == b"keep-alive":
        lines.append(b"connection: keep-alive\r\n")
    version = 0 if request.is_old else 1
    return b"%b %b HTTP/1.%d\r\n%b%b\r\n%b" % (
        request.method, request.url, version, extra, b"".join(lines), request.body,
    )  # fmt: skip
