"""Keeps this machine's cores from sleeping while CPU time is measured.

A core that has nothing to do halts, and on a virtual machine whoever wakes it is charged for several microseconds: a
minimal loop that echoes a request took 40 µs a call here on cores that sleep between two calls, and 13 on cores that do
not. A server under load does not sleep, so that is what is compared: ours and the peers alike.
"""

import contextlib
import os
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def awake() -> Iterator[None]:
    """A process a core that spins, and runs only while nobody else wants to (SCHED_IDLE, sched(7))."""
    spinners = [_spin(core) for core in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for pid in spinners:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _spin(core: int) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.sched_setaffinity(0, {core})
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        while os.getppid() == parent:
            sum(range(10_000))
        os._exit(0)
    return pid
