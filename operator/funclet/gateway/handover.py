"""Callers' connections on their way to another process of the same machine.

Between two requests a connection is nothing but its descriptor: what its caller has sent by then and nobody has read
lies in the kernel, and goes along. So it is handed over only while nothing of it is read, answered or unsent here, and
no byte is lost or read twice.

Each process has an inbox, a socket pair whose both ends the supervisor keeps open: what a worker that has died had not
taken yet waits for its successor, as connections do that it had not accepted. Who may write into an inbox has
inherited it.
"""

import asyncio
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

from funclet.adapters.metrics import CONNECTIONS_HANDED_OVER
from funclet.gateway.call import Caller
from funclet.gateway.client import ClientProtocol

log = logging.getLogger(__name__)

INBOX_BYTES = 32 * 1024
"""The kernel counts almost 1 KiB for a connection: some thirty lie in an inbox. A process that stands still takes no
more with it, and while it is that late, the others pass calls on."""
PARCEL_BYTES = 512
BURST = 32
"""So many are taken at once, until others have their turn."""


def open_inbox() -> tuple[socket.socket, socket.socket]:
    """Where to write connections, and where its owner reads them."""
    entry, exit_ = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    entry.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, INBOX_BYTES)
    entry.setblocking(False)
    exit_.setblocking(False)
    return entry, exit_


@dataclass(frozen=True, slots=True)
class Parcel:
    """What goes with a connection. `returned`: the sibling that it was handed to has no room for it."""

    giver: str
    moves: int
    returned: bool = False

    def encode(self) -> bytes:
        """As the bytes of one message."""
        return f"{self.moves} {self.returned:d} {self.giver}".encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """What `encode` wrote."""
        moves, returned, giver = data.decode().split(" ", 2)
        return cls(giver, int(moves), returned == "1")


class Owner(Protocol):
    """What this needs of the gateway."""

    loop: asyncio.AbstractEventLoop

    @property
    def is_full(self) -> bool:
        """Whether it has as many callers as it may."""

    def adopt(self, moves: int) -> ClientProtocol:
        """One more caller, whose connection has been handed over so often."""


class Handover:
    """This process' inbox, and those of its siblings by name."""

    def __init__(self, owner: Owner, name: str, inbox_fd: int, siblings: Mapping[str, int]) -> None:
        self._owner = owner
        self._name = name
        self._inbox = socket.socket(fileno=inbox_fd)
        self._siblings = {sibling: socket.socket(fileno=fd) for sibling, fd in siblings.items()}
        self._arriving: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Take what lies in the inbox, and all that will."""
        self._owner.loop.add_reader(self._inbox.fileno(), self._take)

    async def stop(self) -> None:
        """Take no more: it waits for this process' successor."""
        self._owner.loop.remove_reader(self._inbox.fileno())
        await asyncio.gather(*self._arriving)

    def close(self) -> None:
        """Close this process' ends."""
        for end in (self._inbox, *self._siblings.values()):
            end.close()

    def reaches(self, name: str) -> bool:
        """Whether this is a process of this machine."""
        return name in self._siblings

    def give(self, client: Caller, name: str) -> bool:
        """Hand a connection over. False: something of it is here, or there is no room for it in the inbox."""
        if not client.is_quiet or not self._send(name, Parcel(self._name, client.moves + 1), client.descriptor):
            return False
        CONNECTIONS_HANDED_OVER.inc()
        client.abort()
        return True

    def _send(self, name: str, parcel: Parcel, descriptor: int) -> bool:
        try:
            socket.send_fds(self._siblings[name], [parcel.encode()], [descriptor])
        except OSError:  # full, or more descriptors are on their way than this user may have
            return False
        return True

    # --- arrivals ---

    def _take(self) -> None:
        for _ in range(BURST):
            try:
                data, descriptors, _, _ = socket.recv_fds(self._inbox, PARCEL_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            if descriptors:
                self._receive(Parcel.decode(data), socket.socket(fileno=descriptors[0]))
            elif not data:  # all that could write are gone
                self._owner.loop.remove_reader(self._inbox.fileno())
                return
            else:
                log.warning("connection lost in its handover: this process has too many open files")

    def _receive(self, parcel: Parcel, connection: socket.socket) -> None:
        back = Parcel(self._name, parcel.moves, returned=True)
        if self._owner.is_full and not parcel.returned and self._send(parcel.giver, back, connection.fileno()):
            connection.close()
            return
        task = self._owner.loop.create_task(self._adopt(parcel, connection))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _adopt(self, parcel: Parcel, connection: socket.socket) -> None:
        try:
            await self._owner.loop.connect_accepted_socket(lambda: self._owner.adopt(parcel.moves), connection)
        except OSError:  # its caller went away meanwhile
            connection.close()
