"""How much of what was written has reached the other end, by the word of its kernel.

It is asked when a connection broke: has anything of the request been delivered?

A kept-alive connection may be closed by its other end in the very moment in which a request is written to it. The
request must not run twice, so it may be sent again only if nothing of it was delivered. That no byte of an answer came
proves nothing. What does: the kernel of the other end acknowledges what it has taken (TCP_INFO, tcpi_bytes_acked), and
a kernel whose socket is closed acknowledges nothing and resets.
"""

import asyncio
import socket
import struct

_ACKED = struct.Struct("=Q")
_ACKED_AT = 120
"""Offset of tcpi_bytes_acked in Linux' struct tcp_info (include/uapi/linux/tcp.h), since 4.1. It counts the SYN too."""


def acknowledged_bytes(transport: asyncio.BaseTransport) -> int | None:
    """How many bytes the other end's kernel has ever taken on this connection; None: unknown."""
    connection = transport.get_extra_info("socket")
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED_AT + _ACKED.size)
    except (AttributeError, OSError):
        return None
    if len(info) < _ACKED_AT + _ACKED.size:
        return None
    return max(0, int(_ACKED.unpack_from(info, _ACKED_AT)[0]) - 1)
