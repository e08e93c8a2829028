"""What the processes of the function may take of the machine. All that they start inherits it."""

import os
import resource

MAX_DESCRIPTORS = 1024
"""Lambda's quota "File descriptors"."""
MAX_OOM_SCORE = b"1000"
"""The kernel kills the function's processes before any other of the instance, so that the agent can tell the caller."""


class Limits:
    """`max_processes` counts all processes and threads of the user, so it is set only where an instance has a user of
    its own; `max_file_mib` bounds each file, since only a whole pod can be bounded by its volume's size.
    """

    def __init__(self, max_processes: int | None, max_file_mib: int | None) -> None:
        self._max_processes = max_processes
        self._max_file_mib = max_file_mib

    def apply(self) -> None:
        """To this process. Nothing gives way that was stricter before."""
        _lower(resource.RLIMIT_NOFILE, MAX_DESCRIPTORS)
        _lower(resource.RLIMIT_CORE, 0)
        if self._max_processes is not None:
            _lower(resource.RLIMIT_NPROC, self._max_processes)
        if self._max_file_mib is not None:
            _lower(resource.RLIMIT_FSIZE, self._max_file_mib * 1024 * 1024)
        _be_killed_first()


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _be_killed_first() -> None:
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    except OSError:
        # Not Linux.
        return
    try:
        os.write(descriptor, MAX_OOM_SCORE)
    finally:
        os.close(descriptor)
