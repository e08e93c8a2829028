"""One invocation on its way through the gateway."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from funclet.adapters.metrics import FunctionMeter
from funclet.core.asynchronous import Event
from funclet.core.lambda_api import LambdaError
from funclet.core.revision import Revision
from funclet.core.slots import FunctionPool, Slot
from funclet.core.trace import lineage_token

if TYPE_CHECKING:
    from funclet.gateway.request import Request


@dataclass(slots=True)
class InstanceAnswer:
    """What an instance answered. `duration_us` is None when it did not say: the gateway's own measure is taken then."""

    body: bytes
    duration_us: int | None = None
    init_us: int | None = None
    error: str | None = None
    log_result: str = ""
    close: bool = False


class Served:
    """One function as this gateway serves it. `revision` is None when the catalog does not have it."""

    __slots__ = ("first_lineage", "key", "lineage_token", "meter", "pool", "revision")

    def __init__(self, key: str, queue_limit: int, queue_limit_bytes: int, meter: FunctionMeter) -> None:
        self.key = key
        self.lineage_token = lineage_token(key)
        self.first_lineage = f";Lineage={self.lineage_token}:1"
        """The end of the trace header of an invocation that no other one caused."""
        self.pool: FunctionPool[Call] = FunctionPool(key, queue_limit, queue_limit_bytes)
        self.revision: Revision | None = None
        self.meter = meter
        meter.queue_depth = lambda: len(self.pool.waiting)
        meter.in_flight = lambda: self.pool.in_flight


@dataclass(frozen=True, slots=True)
class Acceptance:
    """An asynchronous invocation that is to be stored."""

    served: Served
    event: Event
    on_answered: Callable[[BaseException | None], None] | None = None
    """Told when it is stored, or why it is not."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """The result of the asynchronous invocation `invocation` of the function `namespace/name` is asked for."""

    key: str
    invocation: str
    request_id: str


class Reply(Protocol):
    """How an invocation is answered: as the Lambda API does, or as an HTTP API does.

    `answered` and `refused` return the HTTP status that the caller gets.
    """

    def answered(self, call: "Call", answer: InstanceAnswer) -> int:
        """The function has run, with or without success; if a part was `streamed` already, this is the end."""

    def streamed(self, call: "Call", content_type: str, pieces: list[bytes]) -> bool:
        """A part of an answer that comes as a stream. False: the caller is gone."""

    def refused(self, call: "Call", error: LambdaError) -> int:
        """The function has not run."""


class Call:
    """One invocation."""

    __slots__ = (
        "billed_ms", "body", "deadline", "duration_us", "more", "queued_at", "reply", "request", "request_id",
        "revision", "sent_at", "served", "slot", "stream_begun", "stream_start", "trace", "wants_stream",
    )  # fmt: skip

    duration_us: int
    """The handler's time, once it is answered."""
    billed_ms: int
    trace: str
    """The trace header that the function gets."""

    def __init__(
        self, served: Served, revision: Revision, request: "Request", reply: Reply, request_id: str, body: bytes
    ) -> None:
        self.served = served
        self.revision = revision
        self.request = request
        self.reply = reply
        self.request_id = request_id
        self.body = body
        self.more = ""
        """Further header lines for the instance."""
        self.slot: Slot | None = None
        self.queued_at = self.sent_at = self.deadline = 0.0
        self.wants_stream = self.stream_begun = False
        """Whether the instance may answer bit by bit; whether the caller has got the first bit."""
        self.stream_start = b""
        """What has come of a stream whose status and headers are not complete."""

    def want_stream(self) -> None:
        """Let the instance answer bit by bit."""
        self.wants_stream = True
        self.more += "lambda-runtime-function-response-mode: streaming\r\n"
