"""Logs: the standard `logging`, one JSON object a line on standard error."""

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

GATHER_SECONDS = 0.05
"""For how long a line waits for others. A process that is killed meanwhile takes it along."""

STANDARD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """A record as one JSON object: time, level, role, logger, message, and whatever `extra=` gave."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "role": self._role,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: value for name, value in record.__dict__.items() if name not in STANDARD_FIELDS})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class GatheringHandler(logging.StreamHandler[TextIO]):
    """Writes the lines of a moment in one go: each write wakes whoever reads the log, on a CPU that callers wait for.

    Warnings take all that waits with them at once. So does a line that no event loop is running for, and the end of the
    process.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one that has been told to flush."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line up."""
        try:
            self._lines.append(self.format(record) + self.terminator)
            if record.levelno >= logging.WARNING or not self._flush_later():
                self.flush()
        except Exception:  # noqa: BLE001  as all of logging: a line that cannot be made or written harms nobody else
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            self._loop = None
            lines, self._lines = self._lines, []
            self.stream.write("".join(lines))
            super().flush()
        finally:
            self.release()

    def _flush_later(self) -> bool:
        """Whether a loop is running that will."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(GATHER_SECONDS, self.flush)
        return True


def configure(role: str, level: str = "INFO") -> None:
    """Make JSON lines on standard error the only log of this process. `level` is a name of `logging`."""
    handler = GatheringHandler(sys.stderr)
    handler.setFormatter(JsonLines(role))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
