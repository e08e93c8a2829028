"""Child processes of a benchmark: started, asked for their ports, measured through /proc, ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from funclet.adapters.parentage import be_killed_with_parent

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 120.0
"""Plainly broken: on a busy machine some interpreters start at once."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running server: its first process, and its ports on 127.0.0.1."""

    pid: int
    ports: list[int]

    @property
    def port(self) -> int:
        """Its only port, or the first one."""
        return self.ports[0]

    @property
    def cpu_seconds(self) -> float:
        """CPU time so far of it and its descendants."""
        return sum(map(cpu_seconds, tree(self.pid)))

    @property
    def waited_seconds(self) -> float:
        """Time so far in which they could have run, and others had the core."""
        return sum(map(waited_seconds, tree(self.pid)))

    @property
    def resident_mib(self) -> float:
        """Resident memory of it and its descendants."""
        return sum(map(resident_mib, tree(self.pid)))


@contextlib.contextmanager
def running(*command: object) -> Iterator["subprocess.Popen[str]"]:
    """A child in a process group of its own, which is ended as a whole; the child ends with us, however we end."""
    child = subprocess.Popen(
        [*map(str, command)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=be_killed_with_parent,  # noqa: PLW1509 (one system call)
    )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


@contextlib.contextmanager
def printing_ports(*command: object) -> Iterator[Child]:
    """A child that prints its ports on its first line."""
    with running(*command) as child:
        assert child.stdout is not None
        yield Child(child.pid, [int(port) for port in child.stdout.readline().split()])


@contextlib.contextmanager
def listening_on(port: int, *command: object) -> Iterator[Child]:
    """A child that is told its port, once it answers there."""
    with running(*command) as child:
        deadline = time.monotonic() + START_SECONDS
        while not answers(port):
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not answer on port {port}")
            time.sleep(0.02)
        yield Child(child.pid, [port])


def python_server(name: str, *arguments: object) -> contextlib.AbstractContextManager[Child]:
    """One of the processes of benchmarks.servers."""
    return printing_ports(sys.executable, "-m", "benchmarks.servers", name, *arguments)


@contextlib.contextmanager
def named_gateway(token: str, *slots: str, environment: Mapping[str, str] | None = None) -> Iterator[Child]:
    """The gateway in front of these slots, NAME=PORT; `environment` is beside our own.

    Its scaler is another process, whose CPU is not the gateway's.
    """
    own = ("env", *(f"{name}={value}" for name, value in (environment or {}).items()))
    command = (*own, sys.executable, "-m", "benchmarks.servers", "gateway")
    with python_server("scaler", token, *slots) as scaler, printing_ports(*command, scaler.port, *slots) as child:
        yield child


def loopback_gateway(
    token: str, slots: Sequence[int], environment: Mapping[str, str] | None = None
) -> contextlib.AbstractContextManager[Child]:
    """The gateway in front of one function `hello` with these slots."""
    return named_gateway(token, *(f"hello={port}" for port in slots), environment=environment)


def answers(port: int) -> bool:
    """Whether an HTTP server answers there, whatever it says."""
    try:
        httpx.get(f"http://127.0.0.1:{port}/", timeout=2)
    except httpx.ReadTimeout:
        return True
    except httpx.TransportError:
        return False
    return True


def tree(pid: int) -> Sequence[int]:
    """A process and its descendants."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in children.read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process so far, to the nanosecond."""
    return schedule_seconds(pid, 0)


def waited_seconds(pid: int) -> float:
    """Time so far in which its threads could have run, and others had the core."""
    return schedule_seconds(pid, 1)


def schedule_seconds(pid: int, field: int) -> float:
    """Of all its threads, a field of /proc/PID/schedstat (the kernel's Documentation/scheduler/sched-stats.rst)."""
    spent = 0
    for threads in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            spent += int(threads.read_text().split()[field])
    return spent / 1e9


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024
