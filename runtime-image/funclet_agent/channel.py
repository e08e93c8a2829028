"""The socket pair between agent and handler process: nine bytes a message, with some of them descriptors.

The agent gets a duplicate of each connection, so that it can answer when the handler process no longer can.
"""

import array
import os
import socket
import struct
from collections.abc import Iterable

CONNECTION, CLOSED, PART, LOOK, STOP, END = b"C", b"X", b"H", b"L", b"S", b"E"
"""A new connection (with its descriptor); one that was closed; one on which a head came in pieces, which may be in this
process's hands; "look at the shared state"; "end after this invocation"; and what `receive` says when the other end is
closed."""

FORK, FORKED, ORPHANED, ALONE = b"F", b"P", b"O", b"A"
"""Between agent and template: "fork a process for this slot" (with its sockets); its process id (`pack_birth`); "those
that I named are your children now"; "I cannot be forked any more"."""

FROM_HANDLER = (CONNECTION, CLOSED, PART, LOOK, END)
"""All that a handler process may say."""

MAX_DESCRIPTORS = 250
"""With one message; Linux takes 253 (SCM_MAX_FD)."""

_MESSAGE = struct.Struct("<cQ")
_DESCRIPTOR_BYTES = array.array("i").itemsize

Message = tuple[bytes, int, list[int]]
"""Kind, number, descriptors."""


class Channel:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def fileno(self) -> int:
        """To be polled."""
        return self._end.fileno()

    def send(self, kind: bytes, number: int = 0) -> None:
        """Send a message without a descriptor; a dead peer is no error, its death is noticed elsewhere."""
        try:
            self._end.sendall(_MESSAGE.pack(kind, number))
        except OSError:
            return

    def send_descriptors(self, kind: bytes, number: int, descriptors: Iterable[int]) -> None:
        """Send a message with duplicates of these descriptors; raises OSError."""
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        self._end.sendmsg([_MESSAGE.pack(kind, number)], [rights])

    def receive(self, *, wait: bool = False) -> Message | None:
        """The next message; None if there is none now and we do not wait."""
        space = socket.CMSG_LEN(MAX_DESCRIPTORS * _DESCRIPTOR_BYTES)
        try:
            data, ancillary, _, _ = self._end.recvmsg(_MESSAGE.size, space, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            data, ancillary = b"", []
        descriptors = _received(ancillary)
        if len(data) != _MESSAGE.size:
            close_all(descriptors)
            return END, 0, []
        kind, number = _MESSAGE.unpack(data)
        return kind, number, descriptors

    def close(self) -> None:
        """Close this end."""
        self._end.close()


def _received(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % _DESCRIPTOR_BYTES])
    return descriptors.tolist()


def close_all(descriptors: Iterable[int]) -> None:
    """Close what was received and is not wanted."""
    for descriptor in descriptors:
        try:
            os.close(descriptor)
        except OSError:
            continue


def pack_birth(slot: int, pid: int) -> int:
    """The number of FORKED."""
    return slot << 32 | pid


def unpack_birth(number: int) -> tuple[int, int]:
    """Slot and process id of FORKED."""
    return number >> 32, number & 0xFFFFFFFF


def channel_pair() -> tuple[Channel, Channel]:
    """Both ends: the agent's, which never waits, and the handler process's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setblocking(False)
    return Channel(ours), Channel(theirs)
