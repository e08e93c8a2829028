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
from typing import Protocol

from funclet.core.messages import Peer
from funclet.gateway.call import Relay, Request
from funclet.gateway.peer_connection import PeerConnection

log = logging.getLogger(__name__)

PLACE_SECONDS = 5.0
"""So long a home is looked for."""
RETRY_SECONDS = 0.005
IDLE_CONNECTIONS = 256
"""Kept open to each other gateway."""


class Owner(Protocol):
    """What forwarding needs of the gateway's place among the others."""

    loop: asyncio.AbstractEventLoop

    def find_peer(self, key: str) -> Peer | None:
        """Where the home of this function is; None: here."""

    def encode(self, relay: Relay, *, known: bool) -> bytes:
        """The request as the home gets it. `known`: it has answered on this connection before."""

    def come_back(self, request: Request) -> None:
        """The home is here now."""

    def answered(self, request: Request, peer: Peer) -> None:
        """The home has answered."""

    def pass_over(self, peer: Peer) -> None:
        """This gateway refuses connections."""

    def refuse(self, relay: Relay, *, delivered: bool) -> None:
        """There will be no answer. `delivered`: the home may have begun with it."""


class Forwarder:
    """All connections to other gateways."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.answered = owner.answered
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
        known = bool(idle)
        connection = idle.pop() if idle else PeerConnection(self, self._owner.loop, peer)
        self._busy.setdefault(peer.id, set()).add(connection)
        relay.connection = connection
        connection.send(relay, self._owner.encode(relay, known=known))

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
