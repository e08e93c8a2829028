"""The processes of one execution environment: the runtime, its extensions, and the pipes that take what they print."""

import os
import signal
from collections.abc import Callable, Mapping

from funclet_agent.limits import Limits
from funclet_agent.loop import Loop
from funclet_agent.spawning import kill_session, peak_memory_mib, spawn

PIPE_BYTES = 65536
"""What a pipe holds (pipe(7))."""
MAX_LINE_BYTES = 65536
"""A longer line is passed on in pieces."""


class Output:
    """A pipe that a program prints into. Whole lines come out, so that programs do not write into each other's."""

    def __init__(self, loop: Loop, on_output: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._on_output = on_output
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._rest = b""
        loop.watch(self._reader, self._read)

    def drain(self) -> None:
        """Pass on all that has been printed, an unfinished line too."""
        # One read takes all that the pipe holds now, and a program that prints without end does not keep us.
        self._read()
        rest, self._rest = self._rest, b""
        if rest:
            self._on_output(rest)

    def _read(self) -> None:
        try:
            data = os.read(self._reader, PIPE_BYTES)
        except BlockingIOError:
            return
        lines, end, rest = (self._rest + data).rpartition(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            lines, end, rest = lines + end + rest, b"", b""
        self._rest = rest
        if lines or end:
            self._on_output(lines + end)

    def close(self) -> None:
        """When its programs have ended. What they left running must not write any more."""
        self.drain()
        self._loop.forget(self._reader)
        os.close(self._reader)
        os.close(self.writer)


class Sandbox:
    """Starts and ends them. Each is a session of its own, so that nothing that it starts outlives it."""

    def __init__(
        self,
        loop: Loop,
        limits: Limits,
        on_output: Callable[[bytes], None],
        on_extension_output: Callable[[bytes], None],
        pid_file: str | None = None,
    ) -> None:
        self._limits = limits
        self._pid_file = pid_file
        """Where a bootstrap whose runtime is no child of its own writes whose memory counts."""
        self.runtime_pid = 0
        self.extension_pids: dict[int, str] = {}
        self._runtime_output, self._extension_output = Output(loop, on_output), Output(loop, on_extension_output)

    @property
    def pids(self) -> list[int]:
        """All that live."""
        return [*self.extension_pids, *([self.runtime_pid] if self.runtime_pid else [])]

    def start_runtime(self, command: list[str], environment: Mapping[str, str], folder: str) -> None:
        """Raises SpawnError."""
        self.runtime_pid = spawn(command, environment, folder, self._runtime_output.writer, self._limits)

    def start_extension(self, name: str, path: str, environment: Mapping[str, str]) -> None:
        """Raises SpawnError."""
        self.extension_pids[spawn([path], environment, "/", self._extension_output.writer, self._limits)] = name

    def reap(self, pid: int) -> str:
        """A process of ours has ended; nothing it started may outlive it. The name of an extension, empty otherwise."""
        kill_session(pid)
        if pid == self.runtime_pid:
            self.runtime_pid = 0
        return self.extension_pids.pop(pid, "")

    def terminate_runtime(self) -> None:
        """Ask it to end."""
        if self.runtime_pid:
            os.kill(self.runtime_pid, signal.SIGTERM)

    def kill(self, pids: list[int]) -> None:
        """End these at once."""
        for pid in pids:
            kill_session(pid)

    @property
    def peak_memory_mib(self) -> int:
        """Of the runtime."""
        if self._pid_file is not None:
            return peak_memory_mib(_read_pid(self._pid_file))
        return peak_memory_mib(self.runtime_pid) if self.runtime_pid else 0

    def drain_output(self) -> None:
        """Pass on all that the runtime has printed, an unfinished line too."""
        self._runtime_output.drain()

    def close(self) -> None:
        """When all have ended."""
        self._extension_output.close()
        self._runtime_output.close()


def _read_pid(file: str) -> int:
    try:
        with open(file, "rb") as content:
            return int(content.read())
    except (OSError, ValueError):
        return 0
