"""One invocation that a runtime carries out, from the gateway's request to its answer and its last log lines."""

import json
import time
from binascii import b2a_base64
from typing import TYPE_CHECKING

from funclet_agent.http_server import Exchange
from funclet_agent.lines import Lines, Report
from funclet_agent.logs import InvocationLog

if TYPE_CHECKING:
    from funclet_agent.platform_events import PlatformEvents

FUNCTION_ERROR = b"x-amz-function-error: Unhandled\r\n"


class Invocation:
    """Times are nanoseconds of CLOCK_MONOTONIC; `deadline_ms` is Unix time."""

    def __init__(self, exchange: Exchange, timeout_seconds: int) -> None:
        headers = exchange.head.headers
        self.exchange = exchange
        self.request_id = headers.get(b"lambda-runtime-aws-request-id", b"").decode("latin-1")
        self.trace_id = headers.get(b"lambda-runtime-trace-id", b"").decode("latin-1")
        self.tail_wanted = headers.get(b"x-amz-log-type") == b"Tail"
        self.started_ns = time.monotonic_ns()
        self.deadline_ns = self.started_ns + timeout_seconds * 1_000_000_000
        self.deadline_ms = int(time.time() * 1000) + timeout_seconds * 1000

    @property
    def duration_us(self) -> int:
        """Since it began; not beyond its timeout."""
        return (min(time.monotonic_ns(), self.deadline_ns) - self.started_ns) // 1000


class Outcome:
    """What the caller gets. `error_type` is empty for success, `status` what REPORT says of a failure."""

    def __init__(self, body: bytes, error_type: str = "", status: str = "") -> None:
        self.body = body
        self.failed = bool(error_type)
        self.status = status or (f"error\tError Type: {error_type}" if error_type else "")


def failed(failure: dict[str, str], status: str = "") -> Outcome:
    """An error object of Lambda."""
    return Outcome(json.dumps(failure).encode(), failure["errorType"], status)


def platform_failure(kind: str, request_id: str, message: str) -> dict[str, str]:
    """An error that is the platform's finding, not the function's word."""
    return {"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {message}"}


class Recorder:
    """Answers and logs the invocations of one slot."""

    def __init__(self, log: InvocationLog, lines: Lines) -> None:
        self._log = log
        self._lines = lines
        self.events: PlatformEvents
        """Of the execution environment that there is."""
        self.init_us = 0
        """The init phase that the next answer pays for."""

    def begin(self, invocation: Invocation) -> None:
        """Its log begins."""
        self._log.begin(invocation.request_id, invocation.tail_wanted)
        self.events.invocation_started(invocation)

    def note_timeout(self, invocation: Invocation, message: str) -> None:
        """The line of an invocation that ran out of time."""
        self._log.write(self._lines.timeout(invocation.request_id, message))

    def finish(self, invocation: Invocation, outcome: Outcome, memory_mib: int) -> None:
        """The last lines, then the answer, which may hold them."""
        done = Report(invocation.duration_us, self.init_us, memory_mib, outcome.status)
        self._log.end(done)
        self.events.invocation_ended(invocation, done, len(outcome.body))
        headers = b"x-funclet-duration-us: %d\r\nx-funclet-max-memory-mib: %d\r\n" % (done.duration_us, memory_mib)
        if self.init_us:
            headers += b"x-funclet-init-us: %d\r\n" % self.init_us
            self.init_us = 0
        if outcome.failed:
            headers += FUNCTION_ERROR
        if self._log.tail is not None:
            headers += b"x-amz-log-result: %s\r\n" % b2a_base64(self._log.tail, newline=False)
        invocation.exchange.respond(200, outcome.body, headers)
