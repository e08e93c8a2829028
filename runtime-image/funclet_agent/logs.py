"""The handler process's standard output and error: what the function prints, between START and REPORT.

Lines are written as they come, so that a crash loses none; START waits for the first of them, or for the end: an
invocation that prints nothing costs one system call.
"""

import io
import os
import select
import sys
from time import time
from typing import TYPE_CHECKING, Any

from funclet_agent.failures import Failure
from funclet_agent.lines import Lines, Report
from funclet_agent.state import TAIL_BYTES, State

if TYPE_CHECKING:
    from collections.abc import Callable


class InvocationLog:
    """What one invocation prints, and its last 4 KB if the caller wants them."""

    def __init__(self, state: State, lines: Lines) -> None:
        self._state = state
        self._lines = lines
        self.request_id = ""
        self._begun_at = 0.0
        self._pending_start = False
        """The START line is not printed yet."""
        self._open_line = False
        self.holds_text = False
        """Something was printed since the last `flush`."""
        self.tail: bytes | None = None
        """The end of this invocation's log, None if nobody asked."""
        self._flushes: tuple[Callable[[], None], ...] = ()

    def attach(self, state: State) -> None:
        """This process serves another slot than the one that it was forked from."""
        self._state = state

    def redirect_output(self) -> None:
        """From now on print() goes to this log, line by line."""
        sys.stdout = LogText(self, 1)
        sys.stderr = LogText(self, 2)
        self._flushes = (sys.stdout.flush, sys.stderr.flush)

    def begin(self, request_id: str, tail_wanted: bool) -> None:
        """An invocation begins."""
        self.request_id = request_id
        self._begun_at = time()
        self._pending_start = True
        self.tail = b"" if tail_wanted else None

    def write(self, data: bytes) -> None:
        """Something was printed."""
        if self._pending_start:
            data = self._take_start() + data
            self._state.started_line = 1
        self._open_line = not data.endswith(b"\n")
        if self.tail is not None:
            self._keep(data)
        write_fully(1, data)

    def write_failure(self, failure: Failure) -> None:
        """What went wrong in the function."""
        self.flush()
        self.write(self._lines.failure(self.request_id, failure))

    def end(self, report: Report) -> None:
        """The invocation ended: the last lines, in one write."""
        if self.holds_text:
            self.flush()
        if self._pending_start:
            self._pending_start = False
            lines = self._lines.whole(self.request_id, self._begun_at, report)
        else:
            lines = self._lines.end(self.request_id, report)
            if self._open_line:
                self._open_line = False
                lines = b"\n" + lines
        if self.tail is not None:
            self._keep(lines)
        write_fully(1, lines)

    def _take_start(self) -> bytes:
        self._pending_start = False
        return self._lines.start(self.request_id, self._begun_at)

    def flush(self) -> None:
        """Write what print() still holds: a line that has no end yet."""
        if not self.holds_text:
            return
        self.holds_text = False
        try:
            for flush in self._flushes:
                flush()
        except ValueError:
            # The function has closed it.
            return

    def _keep(self, data: bytes) -> None:
        self.tail = ((self.tail or b"") + data)[-TAIL_BYTES:]
        self._state.write_tail(self.tail)


class LogStream(io.RawIOBase):
    """What stands behind sys.stdout and sys.stderr."""

    def __init__(self, log: InvocationLog, descriptor: int) -> None:
        self._log = log
        self._descriptor = descriptor

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The real descriptor, for subprocesses."""
        return self._descriptor

    def write(self, data: object) -> int:
        """Into the invocation's log."""
        content = bytes(data)  # type: ignore[call-overload]
        if content:
            self._log.write(content)
        return len(content)


class LogText(io.TextIOWrapper):
    """sys.stdout or sys.stderr. It says that it may hold text: to flush one that holds none takes a microsecond."""

    def __init__(self, log: InvocationLog, descriptor: int) -> None:
        stream: Any = LogStream(log, descriptor)
        super().__init__(stream, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self._log = log

    def write(self, text: str, /) -> int:
        """A whole line is in the log afterwards."""
        self._log.holds_text = True
        return _write_text(self, text)


_write_text = io.TextIOWrapper.write


def write_patiently(descriptor: int, data: bytes, patience_ms: int = 1000) -> None:
    """Write what the reader takes, but do not wait for ever for one that takes nothing: the agent has others to serve.

    A pipe that polls as writable takes PIPE_BUF bytes at once (pipe(7)).
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    try:
        while data and poll.poll(patience_ms):
            data = data[os.write(descriptor, data[: select.PIPE_BUF]) :]
    except OSError:
        return


def write_fully(descriptor: int, data: bytes) -> None:
    """Write all of it; a reader that is gone is no reason to fail an invocation."""
    try:
        written = os.write(descriptor, data)
        while written < len(data):
            written += os.write(descriptor, data[written:])
    except OSError:
        return
