"""Starts programs: a runtime's bootstrap, an extension. Tells why one cannot be started."""

import os
import signal
from collections.abc import Mapping

from funclet_agent.limits import Limits


class SpawnError(Exception):
    """The program cannot be run; the text is what Lambda says, for instance "permission denied"."""


def spawn(command: list[str], environment: Mapping[str, str], folder: str, output: int, limits: Limits) -> int:
    """Run a program in a session of its own, its output into the descriptor `output`; its process id."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(command, environment, folder, output, writer, limits)
    os.close(writer)
    with open(reader, "rb") as told:
        errno = told.read(8)
    if not errno:
        return pid
    os.waitpid(pid, 0)
    raise SpawnError(os.strerror(int(errno)).lower())


def _become(
    command: list[str], environment: Mapping[str, str], folder: str, output: int, told: int, limits: Limits
) -> None:
    """In the child; does not return. All other descriptors close by themselves (PEP 446)."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(folder)
        limits.apply()
        os.execve(command[0], command, environment)  # noqa: S606 - the function's own program
    except OSError as error:
        os.write(told, b"%d" % (error.errno or 0))
    finally:
        os._exit(127)


def peak_memory_mib(pid: int) -> int:
    """The most memory that a running process has had resident, in MiB; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            for line in status:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) // 1024
    except OSError:
        pass
    return 0


def kill_session(pid: int) -> None:
    """End a program and all that it has started; it may be reaped already."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
