"""Ports for servers that must be told theirs, and that get it again after a restart."""

import random
import socket
from pathlib import Path

FIRST, LAST = 10_000, 29_999
"""Above the well-known ones, and below the ports that Kubernetes gives to Services of a node (30000 to 32767)."""
CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""From here the kernel takes the ports of connections: any connection of the machine can take one of them before the
server has it, or while it is away. Mostly they begin at 32768, and in some sandboxes at 16000."""

_given: set[int] = set()


def free_port() -> int:
    """Nobody listens there, on any address, and nobody in this process has been given it before.

    Some time passes until a server listens on its port, in which the same one must not be given to another.
    """
    taken = _given | _ports_of_connections()
    while True:
        port = random.randint(FIRST, LAST)
        if port in taken:
            continue
        with socket.socket() as listener:
            try:
                listener.bind(("", port))
            except OSError:
                continue
        _given.add(port)
        return port


def _ports_of_connections() -> set[int]:
    first, last = map(int, CONNECTIONS.read_text().split())
    return set(range(first, last + 1)) if first > FIRST else set()  # else no others are left
