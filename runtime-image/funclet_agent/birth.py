"""How a process of the function begins, what ends with it, and whose child it is."""

import os
import signal
from collections.abc import Callable, Container, Iterable, Iterator

from funclet_agent.limits import Limits

MAX_ROUNDS = 1000


def enter_child(kept: Iterable[int], limits: Limits, work: Callable[[], int]) -> None:
    """In a child of the agent: shed what is the agent's, do the work, exit with its status. Does not return.

    Its session makes one process group of all that the function starts.
    """
    status = 1
    try:
        os.setsid()
        _restore_signals()
        _close_all_but(frozenset(kept))
        limits.apply()
        status = work()
    finally:
        os._exit(status)


def end_process_group(pid: int) -> None:
    """Nothing that the function started may outlive its process."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def end_strangers(known: Container[int]) -> None:
    """End the children that nobody here has started, and theirs: what daemons of the function became once it was gone.

    They are frozen before any is killed: whoever forks without end would fill each gap at once.
    """
    strangers = _freeze(known)
    for pid in strangers:
        _signal(pid, signal.SIGKILL)
    while orphans := [pid for pid in _children(os.getpid()) if pid in strangers]:
        # Their own children become ours when they end.
        for pid in orphans:
            os.waitpid(pid, 0)


def _freeze(known: Container[int]) -> set[int]:
    frozen: set[int] = set()
    for _ in range(MAX_ROUNDS):
        found = set(descendants(os.getpid(), known)) - frozen
        if not found:
            break
        for pid in found:
            _signal(pid, signal.SIGSTOP)
        frozen |= found
    return frozen


def descendants(pid: int, known: Container[int]) -> Iterator[int]:
    """The children of a process and theirs, but those that are known, and what these started."""
    for child in _children(pid):
        if child not in known:
            yield child
            yield from descendants(child, known)


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        # It has just ended, or this is not Linux.
        return []


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def is_own_child(pid: int) -> bool:
    """Whether the system tells us of this process's end."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except (ChildProcessError, OverflowError):
        return False
    return True


def adopts_orphans() -> bool:
    """Whether the system gives us the children of our children when those end: process 1 and "child subreapers" alone
    (prctl(2), which the standard library does not have, nor a way to ask; so it is tried).
    """
    if os.getpid() == 1:
        return True
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        orphan = os.fork()
        if orphan:
            os.write(writing, b"%d" % orphan)
        os._exit(0)
    os.waitpid(child, 0)
    orphan = int(os.read(reading, 16))
    os.close(reading)
    os.close(writing)
    adopted = is_own_child(orphan)
    if adopted:
        os.waitpid(orphan, 0)
    return adopted


def _restore_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _close_all_but(kept: frozenset[int]) -> None:
    """The agent's descriptors are none of the function's business; what is left out is standard input and output."""
    for name in os.listdir("/dev/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor not in kept:
            _close(descriptor)


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        # The one that listed the directory.
        return
