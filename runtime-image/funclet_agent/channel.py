"""The socket pair between agent and handler process: nine bytes a message, with some a connection.

The agent gets a duplicate of each connection, so that it can answer when the handler process no longer can.
"""

import array
import socket
import struct

CONNECTION, CLOSED, LOOK, STOP, END = b"C", b"X", b"L", b"S", b"E"
"""A new connection (with its descriptor); one that was closed; "look at the shared state"; "end after this
invocation"; and what `receive` says when the other end is closed."""

_MESSAGE = struct.Struct("<cQ")
_DESCRIPTOR_BYTES = array.array("i").itemsize


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

    def send_connection(self, number: int, connection: socket.socket) -> None:
        """Send a duplicate of the connection that is called `number`."""
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [connection.fileno()]))
        self._end.sendmsg([_MESSAGE.pack(CONNECTION, number)], [rights])

    def receive(self) -> tuple[bytes, int, socket.socket | None] | None:
        """The next message; None if there is none now."""
        space = socket.CMSG_LEN(_DESCRIPTOR_BYTES)
        try:
            data, ancillary, _, _ = self._end.recvmsg(_MESSAGE.size, space, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            data, ancillary = b"", []
        if len(data) != _MESSAGE.size:
            return END, 0, None
        kind, number = _MESSAGE.unpack(data)
        return kind, number, _received_socket(ancillary)

    def close(self) -> None:
        """Close this end."""
        self._end.close()


def _received_socket(ancillary: list[tuple[int, int, bytes]]) -> socket.socket | None:
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % _DESCRIPTOR_BYTES])
    return socket.socket(fileno=descriptors[0]) if descriptors else None


def channel_pair() -> tuple[Channel, Channel]:
    """Both ends: the agent's and the handler process's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return Channel(ours), Channel(theirs)
