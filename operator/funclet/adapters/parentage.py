"""What the kernel is told of a child between fork and exec (for `preexec_fn`): who ends with whom, who adopts whom."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""prctl(2): the kernel sends the child this signal when its parent ends. Linux alone has it."""
_PR_SET_CHILD_SUBREAPER = 36
"""prctl(2): orphans below the child become its children, as they would become process 1's. Linux alone has it."""

_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def be_terminated_with_parent() -> None:
    """The child gets SIGTERM."""
    _set(_PR_SET_PDEATHSIG, signal.SIGTERM)


def be_killed_with_parent() -> None:
    """The child gets SIGKILL."""
    _set(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """The child does what process 1 does in a pod, although it is not."""
    _set(_PR_SET_CHILD_SUBREAPER, 1)


def _set(option: int, value: int) -> None:
    if _prctl is not None:
        _prctl(option, value)
