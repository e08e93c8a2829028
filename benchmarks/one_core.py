"""Keeps callers and servers on one core while CPU time is measured.

Two processes that answer each other on two cores let these sleep between any two messages. Who sends must then wake a
core, and on a virtual machine that is the hypervisor's work, charged to the sender: 20 to 30 µs a call here, more than
a minimal server needs for all the rest, and another figure each time. One core does not sleep while a call is out, and
what is left is what a call costs: the server's own work, the kernel's, and a switch from one process to the other. So
it is for ours and for the peers alike.
"""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """This thread, and all processes that it starts meanwhile, on the last core; on any where none can be chosen."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
