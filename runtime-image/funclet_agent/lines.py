"""Lambda's own log lines: START, END, REPORT, and the one of a timeout; plain or JSON as `log_format` says."""

import json
import time

from funclet_agent.failures import Failure, description
from funclet_agent.specialisation import Specialisation


def billed_ms(duration_us: int, init_us: int) -> int:
    """Handler and init time, rounded up to the millisecond, at least 1 (docs/design/0001, "Billing")."""
    return max(1, -(-(duration_us + init_us) // 1000))


def timestamp(at: float | None = None) -> str:
    """A Unix time, or now, as 2026-01-31T12:00:00.123Z."""
    now = time.time() if at is None else at
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"


class Report:
    """What the REPORT line says of one invocation."""

    __slots__ = ("duration_us", "init_us", "max_memory_mib", "status")

    def __init__(self, duration_us: int, init_us: int, max_memory_mib: int, status: str = "") -> None:
        self.duration_us = duration_us
        self.init_us = init_us
        self.max_memory_mib = max_memory_mib
        self.status = status


def split_status(status: str) -> dict[str, str]:
    """What REPORT says of a failure, as members of a platform event."""
    name, _, error_type = status.partition("\tError Type: ")
    return {"status": name or "success"} | ({"errorType": error_type} if error_type else {})


def report_metrics(report: Report, memory_mib: int) -> dict[str, object]:
    """The metrics of platform.report."""
    metrics: dict[str, object] = {
        "durationMs": report.duration_us / 1000,
        "billedDurationMs": billed_ms(report.duration_us, report.init_us),
        "memorySizeMB": memory_mib,
        "maxMemoryUsedMB": report.max_memory_mib,
    }
    if report.init_us:
        metrics["initDurationMs"] = report.init_us / 1000
    return metrics


class TextLines:
    """log_format Text."""

    def __init__(self, version: str, memory_mib: int) -> None:
        self._start = f"START RequestId: %s Version: {version}\n".encode()
        self._end = (
            b"END RequestId: %%b\nREPORT RequestId: %%b\tDuration: %%d.%%02d ms\tBilled Duration: %%d ms\t"
            b"Memory Size: %d MB\tMax Memory Used: %%d MB\t%%b\n" % memory_mib
        )
        self._whole = self._start.replace(b"%s", b"%b") + self._end

    def start(self, request_id: str, at: float) -> bytes:
        """The line before whatever the function prints; `at`: when it began, Unix time."""
        return self._start % request_id.encode()

    def end(self, request_id: str, report: Report) -> bytes:
        """The two lines at the end."""
        number = request_id.encode()
        return self._end % (number, number, *_figures(report))

    def whole(self, request_id: str, at: float, report: Report) -> bytes:
        """All three lines, of an invocation in which nothing was printed."""
        if report.init_us or report.status:
            return self.start(request_id, at) + self.end(request_id, report)
        number, duration_us = request_id.encode(), report.duration_us
        hundredths = (duration_us + 5) // 10
        billed = (duration_us + 999) // 1000 or 1
        return self._whole % (
            number, number, number, hundredths // 100, hundredths % 100, billed, report.max_memory_mib, b"",
        )  # fmt: skip

    def init_failed(self, init_us: int, status: str) -> bytes:
        """INIT_REPORT: the init phase failed, outside of an invocation."""
        return f"INIT_REPORT Init Duration: {init_us / 1000:.2f} ms\tPhase: init\tStatus: {status}\t\n".encode()

    def failure(self, request_id: str, failure: Failure) -> bytes:
        """What went wrong in the function."""
        return description(failure).encode(errors="backslashreplace")

    def timeout(self, request_id: str, message: str) -> bytes:
        """The line of an invocation that ran out of time."""
        return f"{timestamp()} {request_id} {message}\n\n".encode()


DEBUG, INFO, WARN = range(3)
"""Levels of the platform's lines, as Lambda grades its system log events."""


class JsonLines:
    """log_format JSON: one object a line, as Lambda's platform events, from a least level on."""

    def __init__(self, version: str, memory_mib: int, level: int) -> None:
        self._version = version
        self._memory_mib = memory_mib
        self._level = level

    def start(self, request_id: str, at: float) -> bytes:
        """platform.start."""
        if self._level > INFO:
            return b""
        return _event("platform.start", {"requestId": request_id, "version": self._version}, at)

    def end(self, request_id: str, report: Report) -> bytes:
        """platform.runtimeDone (of level DEBUG after a success) and platform.report (INFO); WARN after a failure."""
        record: dict[str, object] = {"requestId": request_id, **split_status(report.status)}
        done, told = (WARN, WARN) if report.status else (DEBUG, INFO)
        lines = b""
        if self._level <= done:
            lines += _event("platform.runtimeDone", record | {"metrics": {"durationMs": report.duration_us / 1000}})
        if self._level <= told:
            lines += _event("platform.report", record | {"metrics": report_metrics(report, self._memory_mib)})
        return lines

    def whole(self, request_id: str, at: float, report: Report) -> bytes:
        """All of them."""
        return self.start(request_id, at) + self.end(request_id, report)

    def init_failed(self, init_us: int, status: str) -> bytes:
        """platform.initReport."""
        record: dict[str, object] = {"phase": "init", **split_status(status), "metrics": {"durationMs": init_us / 1000}}
        return _event("platform.initReport", record)

    def failure(self, request_id: str, failure: Failure) -> bytes:
        """An ERROR line of the function's log, with the fields of the error object."""
        line = {"timestamp": timestamp(), "level": "ERROR", "message": failure["errorMessage"], **failure}
        return json.dumps(line | {"requestId": request_id}).encode() + b"\n"

    def timeout(self, request_id: str, message: str) -> bytes:
        """An ERROR line of the function's log."""
        line = {"timestamp": timestamp(), "level": "ERROR", "message": message, "requestId": request_id}
        return json.dumps(line).encode() + b"\n"


def _figures(report: Report) -> tuple[int, int, int, int, bytes]:
    """What REPORT says: milliseconds and hundredths of them, billed milliseconds, memory, and the rest."""
    duration_us, init_us = report.duration_us, report.init_us
    hundredths = (duration_us + 5) // 10
    more = _init_and_status(report) if init_us or report.status else b""
    billed = (duration_us + init_us + 999) // 1000 or 1
    return hundredths // 100, hundredths % 100, billed, report.max_memory_mib, more


def _init_and_status(report: Report) -> bytes:
    init = f"Init Duration: {report.init_us / 1000:.2f} ms\t" if report.init_us else ""
    return (init + (f"Status: {report.status}\t" if report.status else "")).encode()


def _event(kind: str, record: dict[str, object], at: float | None = None) -> bytes:
    return json.dumps({"time": timestamp(at), "type": kind, "record": record}).encode() + b"\n"


Lines = TextLines | JsonLines


def lines_for(spec: Specialisation) -> Lines:
    """The lines of a function's log format."""
    if spec.log_format.upper() != "JSON":
        return TextLines(spec.function_version, spec.memory_mib)
    level = ("DEBUG", "INFO", "WARN").index(spec.system_log_level)
    return JsonLines(spec.function_version, spec.memory_mib, level)
