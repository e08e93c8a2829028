"""The variable `_X_AMZN_TRACE_ID`, which has another value in each invocation.

`os.environ` has it at once. The C library's environment, which child processes inherit, gets it when one is about to be
started: setenv(3) of glibc never gives back what a variable held before, 100 bytes an invocation, and takes 2 µs.
"""

import _posixsubprocess
import os
from collections.abc import Callable
from typing import Any

NAME = b"_X_AMZN_TRACE_ID"
STARTERS = ((_posixsubprocess, "fork_exec"), (os, "system"), (os, "execv"))
"""Functions that start a program with the C library's environment; `subprocess` and all of `os` come down to these."""


class TraceVariable:
    """Of this process."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]

    def set(self, value: bytes) -> None:
        """From now on it has this value."""
        self._values[NAME] = value

    def export(self) -> None:
        """Child processes that are started now get it, unless the function has removed it."""
        value = self._values.get(NAME)
        if value is not None:
            os.putenv(NAME, value)

    def export_before_starts(self) -> None:
        """Whenever a process is about to be started that would inherit another value."""
        os.register_at_fork(before=self.export)
        for module, name in STARTERS:
            setattr(module, name, self._exporting_before(getattr(module, name)))

    def _exporting_before(self, start: Callable[..., Any]) -> Callable[..., Any]:
        def export_and_start(*arguments: Any, **named: Any) -> Any:
            self.export()
            return start(*arguments, **named)

        return export_and_start
