"""Child processes that end with their parent, however it ends: for `preexec_fn`, between fork and exec."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""prctl(2): the kernel sends the child this signal when its parent ends. Linux alone has it."""

_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def be_terminated_with_parent() -> None:
    """The child gets SIGTERM."""
    _set_signal(signal.SIGTERM)


def be_killed_with_parent() -> None:
    """The child gets SIGKILL."""
    _set_signal(signal.SIGKILL)


def _set_signal(number: signal.Signals) -> None:
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, number)
