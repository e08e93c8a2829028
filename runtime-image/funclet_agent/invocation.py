"""One invocation that a runtime carries out, and how it ends."""

import json
import time

from funclet_agent.http_server import Exchange


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
