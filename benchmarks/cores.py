"""Says which cores run what while CPU time is measured, since what a call costs depends on who sleeps meanwhile.

Whoever sends to a process that sleeps on another core must wake that core; on a virtual machine that is the
hypervisor's work, charged to the sender: 20 to 30 µs a call here, more than a minimal server needs for all the rest,
and another figure each time. So nothing that is measured may sleep between two messages of a call:

- A proxy is measured at full load, on a core of its own (`one_core`), callers and slots on the others (`other_cores`).
  It never sleeps, and nobody takes its core away.
- What answers one call at a time is idle in between by its nature. It shares one core with its caller, which does not
  sleep while a call is out.

So it is for ours and for the peers alike. Where no core can be chosen, all run where they like.
"""

import contextlib
import os
from collections.abc import Iterator

CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
"""Which may be used; none where none can be chosen."""


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """This thread, and all processes that it starts meanwhile, on the last core."""
    with _on(set(sorted(CORES)[-1:])):
        yield


@contextlib.contextmanager
def other_cores() -> Iterator[None]:
    """The same on all cores but the last; on the only one, if there is one."""
    with _on(set(sorted(CORES)[:-1]) or CORES):
        yield


@contextlib.contextmanager
def _on(cores: set[int]) -> Iterator[None]:
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
