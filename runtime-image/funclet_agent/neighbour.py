"""A runtime in a container beside this one, as of a function that is packaged as an image: awaited, not started.

The containers of the pod share their network and their process namespace, and have each a mount namespace, by which it
is told whose a process is. Process 1 is the pod's own. Processes without a parent are what was started in a container
from outside: the oldest of the other container is the runtime, younger ones are somebody's `kubectl exec`.

Its output goes to the log of its own container, and how it ended is told to those who started it, not to us.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator

from funclet_agent.listening import listen
from funclet_agent.loop import Loop
from funclet_agent.spawning import peak_memory_mib

HOST = "127.0.0.1"
POD_PROCESS = 1
LOOK_SECONDS = 0.01
KILL_ROUNDS = 100


class Neighbour:
    """Has the face of `sandbox.Sandbox` where one runs whose processes are not ours."""

    def __init__(self, loop: Loop, listener: socket.socket, runtime_pid: int) -> None:
        self._loop = loop
        self.listener = listener
        """Of the Runtime API."""
        self.runtime_pid = runtime_pid
        """0 when it has ended."""
        self.extension_pids: dict[int, str] = {}
        self._descriptor = os.pidfd_open(runtime_pid)
        self._container = container_of(runtime_pid)

    @property
    def pids(self) -> list[int]:
        """The runtime, while it lives."""
        return [self.runtime_pid] if self.runtime_pid else []

    @property
    def age_ns(self) -> int:
        """For how long the runtime has been there."""
        started = next((ticks for _, ticks in _read_stat(self.runtime_pid)), None)
        if started is None:
            return 0
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return max(0, now - started * 1_000_000_000 // os.sysconf("SC_CLK_TCK"))

    def follow(self, on_ended: Callable[[int], None]) -> None:
        """Call back with its process id when the runtime has ended."""
        pid = self.runtime_pid
        self._loop.watch(self._descriptor, lambda: on_ended(pid))

    def reap(self, pid: int) -> str:
        """It has ended, and is none of the extensions."""
        self._loop.forget(self._descriptor)
        self.kill([pid])
        self.runtime_pid = 0
        return ""

    def terminate_runtime(self) -> None:
        """Ask it to end."""
        _signal(self.runtime_pid, signal.SIGTERM)

    def kill(self, pids: list[int]) -> None:
        """End the runtime and all that it has started, however fast that multiplies."""
        for _ in range(KILL_ROUNDS if pids else 0):
            found = list(self._processes())
            if not found:
                return
            for pid in found:
                _signal(pid, signal.SIGKILL)

    @property
    def peak_memory_mib(self) -> int:
        """Of all its processes together: each one's own peak."""
        return sum(peak_memory_mib(pid) for pid in self._processes())

    def drain_output(self) -> None:
        """None of it comes here."""

    def close(self) -> None:
        """The runtime has ended."""
        os.close(self._descriptor)

    def _processes(self) -> Iterator[int]:
        """Of the runtime's container, but for those that are dead and not reaped yet."""
        for pid in all_processes():
            if self._container and container_of(pid) == self._container and _read_stat(pid):
                yield pid


def meet_neighbour(loop: Loop, port: int) -> Neighbour:
    """Listen for the runtime, then wait until it runs: its image may have to be fetched first.

    In this order, for it connects as soon as it runs. What it asks then waits until this instance is specialised.
    """
    listener = listen(HOST, port)
    while not (pid := find_runtime()):
        time.sleep(LOOK_SECONDS)
    return Neighbour(loop, listener, pid)


def find_runtime() -> int:
    """The first process of the other container; 0 while it is not there."""
    own = {container_of(os.getpid()), ""}
    others = [pid for pid in all_processes() if pid != POD_PROCESS and container_of(pid) not in own]
    ages = [(started, pid) for pid in others for parent, started in _read_stat(pid) if parent == 0]
    return min(ages)[1] if ages else 0


def all_processes() -> Iterator[int]:
    """That can be seen from here."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def container_of(pid: int) -> str:
    """The name of a process's mount namespace; empty if it is gone, or none of ours to look at."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""


def _read_stat(pid: int) -> list[tuple[int, int]]:
    """Parent, and time of start in ticks (proc_pid_stat(5)); nothing if it is gone, or dead and not reaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, parent, *more = file.read().rpartition(b")")[2].split()
    except OSError:
        return []
    return [] if state in (b"Z", b"X") else [(int(parent), int(more[17]))]


def _signal(pid: int, number: int) -> None:
    try:
        if pid:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return
