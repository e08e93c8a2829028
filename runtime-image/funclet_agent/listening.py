"""Listening sockets."""

import socket

BACKLOG = 128


def listen(address: str, port: int) -> socket.socket:
    """A non-blocking listener; port 0 is any free one."""
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
