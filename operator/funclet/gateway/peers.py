"""This gateway's place among the others: whose home it is, what it forwards, and what it hands over."""

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections.abc import Iterable
from typing import Protocol

from funclet.core.handover import NO_ROW, is_due, lengthen
from funclet.core.homes import SETTLE_SECONDS, Homes
from funclet.core.messages import Introduction, Peer, PeerNote, Peers, SlotNames
from funclet.core.qualifiers import function_key
from funclet.core.slots import Slot, SlotName
from funclet.gateway.call import Caller, Relay, Request
from funclet.gateway.dispatch import Dispatcher
from funclet.gateway.forward import Forwarder
from funclet.gateway.handover import Handover
from funclet.gateway.notes import Notes
from funclet.gateway.relay import PASSED_OVER, SOURCE, TOKEN, encode_request

log = logging.getLogger(__name__)

ENTRUST_SECONDS = 1.0
"""So long a process that ends waits for room in the inboxes of those that stay."""
ROOM_SECONDS = 0.005
"""Until it looks again."""


class Owner(Protocol):
    """What this needs of the gateway."""

    loop: asyncio.AbstractEventLoop
    stopping: bool

    def find_key(self, request: Request) -> str | None:
        """The function that this request invokes; None: none, or none that needs a slot."""

    def refuse_relay(self, relay: Relay, *, delivered: bool) -> None:
        """The home does not answer."""


class Neighbourhood:
    """All that a gateway knows of, says to and hears from the others."""

    def __init__(
        self, owner: Owner, dispatcher: Dispatcher, reporter: str, token: str, handover: Handover | None
    ) -> None:
        self.loop = owner.loop
        self.port = 0
        """Where the others reach this one."""
        self.homes = Homes(f"{reporter}#{secrets.token_hex(4)}")
        self._owner = owner
        self._dispatcher = dispatcher
        self._token = token.encode()
        self._list: list[Peer] = []
        self._forwarder = Forwarder(self)
        self._handover = handover
        self._notes = Notes(token)
        self._left = asyncio.Event()
        """No function has its home here any more."""
        self._early: dict[Request, None] = {}
        """Requests of functions that are not settled yet."""
        self._heirs: dict[tuple[str, SlotName], str] = {}
        """Who waits for the end of what still runs here, by function and slot."""

    def introduction(self) -> Introduction:
        """What the scaler is told when the feed is opened."""
        return Introduction(id=self.homes.me, port=self.port, epoch=self.homes.epoch, peers=self._list)

    async def handed_over(self) -> None:
        """Wait until the others have taken this gateway's functions, if there are any and the scaler is there."""
        if self.homes.others:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_SECONDS):
                    await self._left.wait()

    async def entrust(self, clients: Iterable[Caller]) -> None:
        """This process ends: connections of which nothing is here go to processes of this machine that stay.

        Their callers may be sending a request at this very moment, and would get no answer if it was closed."""
        handover = self._handover
        if handover is None:
            return
        await handover.stop()
        others = self.homes.others.values()
        staying = [peer.reporter for peer in others if peer.id in self.homes.candidates]
        heirs = [name for name in staying if handover.reaches(name)]
        turns = itertools.cycle(heirs)
        until = self.loop.time() + ENTRUST_SECONDS
        quiet = [client for client in clients if client.is_quiet]
        while heirs and quiet and self.loop.time() < until:
            quiet = [client for client in quiet if client.is_quiet and not handover.give(client, next(turns))]
            await asyncio.sleep(ROOM_SECONDS)

    async def close(self) -> None:
        """Close all connections to the others."""
        self._forwarder.close()
        await self._notes.close()

    # --- requests ---

    def is_here(self, request: Request) -> bool:
        """Whether to serve this caller's request here and now. False: it is taken care of."""
        if not self.homes.others:
            return True
        key = self._owner.find_key(request)
        if key is None:
            return True
        if self.homes.home(key, self.loop.time()) == self.homes.me:
            request.client.row = NO_ROW
            return self.is_settled(key, request)
        self._forwarder.forward(request, key)
        return False

    def serves(self, key: str, client: Caller) -> bool:
        """Whether this caller's call of this function may begin here and now. False: nothing has happened."""
        homes = self.homes
        if not homes.others:
            return True
        now = self.loop.time()
        if homes.home(key, now) != homes.me or not homes.is_settled(key, now):
            return False
        client.row = NO_ROW
        return True

    def is_settled(self, key: str, request: Request) -> bool:
        """Whether to serve a request whose home is here now. False: it waits for the others' word."""
        if self.homes.is_settled(key, self.loop.time()):
            return True
        self._early[request] = None
        return False

    def forget(self, request: Request) -> None:
        """The caller went away."""
        self._early.pop(request, None)
        if request.relay is not None:
            self._forwarder.abandon(request.relay)

    def throttle(self, relay: Relay, *, paused: bool) -> None:
        """The caller does not read the answer that another gateway sends, or reads again."""
        self._forwarder.throttle(relay, paused=paused)

    def _place_early(self) -> None:
        early, self._early = self._early, {}
        for request in early:
            request.client.place_again(request)

    # --- the others ---

    def apply(self, message: Peers) -> None:
        """The scaler's list: whose homes change, change now."""
        if message.epoch <= self.homes.epoch:
            return
        lost = self.homes.apply(message, self.loop.time())
        self._list = message.peers
        log.info("peers", extra={"epoch": message.epoch, "peers": [peer.id for peer in message.peers]})
        self._forwarder.drop(lost)
        for name in lost:
            self._notes.drop(name)
        self._forget_lost()
        self._hand_over()
        self._see_whether_left()
        self._place_early()
        self.loop.call_later(SETTLE_SECONDS, self._place_early)

    def _see_whether_left(self) -> None:
        """When all others follow a list without this gateway, they pass nothing on to it any more."""
        if any(peer.leaving and peer.id == self.homes.me for peer in self._list) and self.homes.all_follow:
            self._left.set()

    def _forget_lost(self) -> None:
        """What gateways that are gone had begun has failed; nobody of them waits for slots."""
        here = self.homes.others.keys()
        self._heirs = {slot: heir for slot, heir in self._heirs.items() if heir in here}
        now = self.loop.time()
        for served in self._dispatcher.functions.values():
            for name, by in list(served.pool.elsewhere.items()):
                if by not in here:
                    self._dispatcher.assign(served.pool.vacate(name, by, now))

    def _hand_over(self) -> None:
        """Tell every other gateway that this one follows the list, and what it still runs of the other's functions."""
        occupied: dict[str, SlotNames] = {}
        moved: list[Request] = []
        now = self.loop.time()
        for served in list(self._dispatcher.functions.values()):
            pool = served.pool
            if not (pool.in_flight or pool.waiting or pool.elsewhere):
                continue
            home = self.homes.home(function_key(served.key), now)
            if home == self.homes.me:
                continue
            names = [slot.name for slot in pool.occupied()]
            slots = [name for name in names if self._bequeath(served.key, name, pool.elsewhere.get(name), home)]
            if slots:
                occupied.setdefault(home, {})[served.key] = slots
            moved += [call.request for call in self._dispatcher.withdraw_waiting(served)]
        for peer in self.homes.others.values():
            note = PeerNote(sender=self.homes.me, epoch=self.homes.epoch, occupied=occupied.get(peer.id, {}))
            self._notes.send(peer, note)
        self._watch_slots()
        for request in moved:
            request.client.place_again(request)

    def _bequeath(self, key: str, name: SlotName, by: str | None, home: str) -> bool:
        """Whether to tell the new home of this slot. Its first heir passes it on; who uses it knows that it does."""
        if by == home or (key, name) in self._heirs:
            return False
        self._heirs[key, name] = home
        return True

    def _watch_slots(self) -> None:
        """The dispatcher tells of slots that are vacated only while somebody waits for one."""
        self._dispatcher.on_vacated = self._vacated if self._heirs else None

    def _vacated(self, key: str, slot: Slot) -> None:
        self._tell_heir(key, slot.name)

    def _tell_heir(self, key: str, name: SlotName) -> None:
        peer = self.homes.others.get(self._heirs.pop((key, name), ""))
        if peer is not None:
            note = PeerNote(sender=self.homes.me, epoch=self.homes.epoch, vacated={key: [name]})
            self._notes.send(peer, note)
        self._watch_slots()

    def take_note(self, note: PeerNote) -> None:
        """Another gateway's word."""
        for key, names in note.occupied.items():
            pool = self._dispatcher.serve(key).pool
            for name in names:
                pool.occupy(name, note.sender)
        for key, names in note.vacated.items():
            pool = self._dispatcher.serve(key).pool
            for name in names:
                self._dispatcher.assign(pool.vacate(name, note.sender, self.loop.time()))
                self._tell_heir(key, name)
        self.homes.hear(note.sender, note.epoch)
        self._see_whether_left()
        self._place_early()

    def pass_over_all(self, names: str) -> None:
        """Another gateway could not reach these."""
        for name in filter(None, names.split(",")):
            self.homes.pass_over(name, self.loop.time())

    # --- what the forwarder asks ---

    def find_peer(self, key: str) -> Peer | None:
        """Where the home of this function is; None: here."""
        return self.homes.others.get(self.homes.home(key, self.loop.time()))

    def encode(self, relay: Relay, *, known: bool) -> bytes:
        """The request as the home gets it: with the token, and with what only this gateway knows.

        A plain one goes as it came over a connection that is `known`, since all that is needed of it is its function.
        """
        request = relay.request
        relay.keep_alive = request.keep_alive and not self._owner.stopping
        if known and request.head and relay.keep_alive and not self.homes.passed_over:
            return request.head + b"\r\n\r\n" + request.body
        extra = b"%b: %b\r\n%b: %b\r\n" % (TOKEN, self._token, SOURCE, request.client.source_ip.encode())
        passed_over = self.homes.passed_over
        if passed_over:
            extra += b"%b: %b\r\n" % (PASSED_OVER, ",".join(passed_over).encode())
        return encode_request(request, relay.keep_alive, extra)

    def come_back(self, request: Request) -> None:
        """The home is here now."""
        request.client.place_again(request)

    def answered(self, request: Request, peer: Peer) -> None:
        """The home has answered. If it is a process of this machine, it may get the caller's connection."""
        handover, client = self._handover, request.client
        if handover is None or not handover.reaches(peer.reporter):
            return
        client.row = lengthen(client.row, peer.id)
        if is_due(client.row, client.moves):
            self.loop.call_soon(self._hand_connection, client, peer)  # when the answer is written

    def _hand_connection(self, client: Caller, peer: Peer) -> None:
        assert self._handover is not None
        if peer.id in self.homes.candidates:
            self._handover.give(client, peer.reporter)

    def pass_over(self, peer: Peer) -> None:
        """This gateway refuses connections."""
        self.homes.pass_over(peer.id, self.loop.time())

    def refuse(self, relay: Relay, *, delivered: bool) -> None:
        """There will be no answer."""
        self._owner.refuse_relay(relay, delivered=delivered)
