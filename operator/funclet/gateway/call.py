"""A caller's request and what becomes of it: an invocation here, or a relay to the gateway that is the home.

A request knows the call that it has become, and the call the request that it answers: so they are in one module.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from funclet.adapters.function_meter import FunctionMeter
from funclet.core.asynchronous import Event
from funclet.core.handover import Row
from funclet.core.http_event import HttpAnswer
from funclet.core.lambda_api import LambdaError
from funclet.core.qualifiers import function_key, version_of
from funclet.core.revision import Revision
from funclet.core.trace import lineage_token
from funclet.gateway.budget import Lease

if TYPE_CHECKING:
    from funclet.core.function_pool import FunctionPool
    from funclet.core.slots import Slot


class Caller(Protocol):
    """The connection that a request came on, to those who answer it. Only its current request is answered."""

    source_ip: str
    row: Row
    """The calls in a row that are at home at one sibling (`core.handover`)."""
    moves: int
    """How often it was handed over from process to process."""

    @property
    def is_quiet(self) -> bool:
        """Whether nothing of it is here: no request that has begun, and no byte of an answer."""

    @property
    def descriptor(self) -> int:
        """Of its socket."""

    def invite(self) -> None:
        """The caller waits for a word until it sends the body."""

    def respond(self, request: "Request", answer: HttpAnswer) -> None:
        """Send the answer."""

    def respond_raw(self, request: "Request", head: bytes, body: bytes) -> None:
        """Send a status line with headers (each with its CRLF) and a body."""

    def relay(self, request: "Request", data: bytes, *, complete: bool, keep_alive: bool) -> None:
        """Send a part of an answer that is serialised already."""

    def begin_stream(self, request: "Request", head: bytes) -> bool:
        """Begin an answer whose length nobody knows yet. False: the caller is gone."""

    def write_piece(self, request: "Request", data: bytes) -> bool:
        """Send a part of it. False: the caller is gone."""

    def end_stream(self, request: "Request", data: bytes = b"") -> None:
        """Send the last part."""

    def cut_stream(self, request: "Request") -> None:
        """Close the connection amid the answer."""

    def place_again(self, request: "Request") -> None:
        """Its function may have moved; nothing of it has begun."""

    def abort(self) -> None:
        """Close the connection whatever is due on it."""


class Carrier(Protocol):
    """The connection to another gateway that a relay is on."""

    def throttle(self, *, paused: bool) -> None:
        """Read no more for now, or read again."""

    def close(self) -> None:
        """Drop the connection; nobody waits for it."""


class Request:
    """One request, complete."""

    __slots__ = (
        "_fields", "body", "call", "client", "head", "is_old", "keep_alive", "lease", "method",
        "relay", "url",
    )  # fmt: skip

    call: "Call | None"
    """The invocation that it has become, until it is answered."""
    relay: "Relay | None"
    """Its way to another gateway, until it is answered."""
    lease: Lease | None
    """What a large body takes of the gateway's budget."""
    is_old: bool
    """HTTP/1.0: it cannot read chunks."""

    def __init__(
        self, client: Caller, method: bytes = b"", url: bytes = b"", head: bytes = b"", body: bytes = b""
    ) -> None:
        """`head`, up to its last header: of a request that has been found plain (`plain`)."""
        self.client = client
        self.method = method
        self.url = url
        self.body = body
        self.head = head
        self._fields: dict[bytes, bytes] | None = None if head else {}
        self.call = self.relay = self.lease = None
        self.keep_alive = True
        self.is_old = False

    @property
    def fields(self) -> dict[bytes, bytes]:
        """Headers by name in lower case; several of one name are joined."""
        if self._fields is None:
            self._fields = {}
            for line in self.head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                add_field(self._fields, name.lower(), value.lstrip(b" \t"))
        return self._fields


def add_field(fields: dict[bytes, bytes], name: bytes, value: bytes) -> bool:
    """Add a header; True: one of its name is there, and they are joined (RFC 9110, 5.3; cookies: RFC 9113, 8.2.3)."""
    if name in fields:
        fields[name] += (b"; " if name == b"cookie" else b",") + value
        return True
    fields[name] = value
    return False


class Relay:
    """One request that another gateway answers."""

    __slots__ = ("begun", "connection", "deadline", "keep_alive", "key", "request")

    def __init__(self, request: Request, key: str, deadline: float) -> None:
        self.request = request
        self.key = key
        self.deadline = deadline
        self.connection: Carrier | None = None
        self.begun = False
        """The caller has got a part of the answer."""
        self.keep_alive = True


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
    """One version of a function as this gateway serves it. `revision` is None when the catalog does not have it."""

    __slots__ = ("first_lineage", "key", "lineage_token", "meter", "pool", "revision", "version")

    def __init__(self, key: str, pool: "FunctionPool[Call]", meter: FunctionMeter) -> None:
        self.key = key
        self.version = version_of(key).encode()
        """As the answers say it."""
        self.lineage_token = lineage_token(function_key(key))
        self.first_lineage = f";Lineage={self.lineage_token}:1"
        """The end of the trace header of an invocation that no other one caused."""
        self.pool = pool
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
        "billed_ms", "body", "duration_us", "given_back", "more", "queued_at", "reply", "request", "request_id",
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
        self.queued_at = self.sent_at = 0.0
        """When it was admitted; when it was sent to its slot."""
        self.wants_stream = self.stream_begun = self.given_back = False
        """Whether the instance may answer bit by bit; whether the caller has got the first bit;
        whether an instance has lost it before the function saw it: what that happens to twice may be the cause."""
        self.stream_start = b""
        """What has come of a stream whose status and headers are not complete."""

    def want_stream(self) -> None:
        """Let the instance answer bit by bit."""
        self.wants_stream = True
        self.more += "lambda-runtime-function-response-mode: streaming\r\n"
