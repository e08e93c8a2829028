"""Ports for servers that must be told theirs, and that get it again after a restart."""

import random
import socket

FIRST, LAST = 20_000, 32_767
"""Below the range from which the kernel takes the ports of connections (ip_local_port_range begins at 32768): a port
from there can be taken by any connection of the machine before the server has it, or while it is away."""


def free_port() -> int:
    """Nobody listens there, on any address."""
    while True:
        port = random.randint(FIRST, LAST)
        with socket.socket() as listener:
            try:
                listener.bind(("", port))
            except OSError:
                continue
        return port
