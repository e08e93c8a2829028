"""The spans of an invocation, by OpenTelemetry's semantic conventions for functions as a service.

    invoke hello                 SERVER; from the call to its answer
    ├── queue                    what the call waited for an instance
    │   ├── claim, or create and start
    │   └── specialise
    ├── init                     the import of the handler's module, what of it this call waited for
    └── handler                  the function; what it records itself are its children

Times are nanoseconds since 1970 on one clock, the gateway's. What other machines measured are lengths, which are laid
into the time in which they must have been; so a span is always within its parent. A length of which this call waited
for a part only is cut to that part.

https://opentelemetry.io/docs/specs/semconv/faas/faas-spans/
"""

import json
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, Protocol

from funclet.core.arn import function_arn
from funclet.core.messages import Phase
from funclet.core.qualifiers import name_of, version_of
from funclet.core.trace import TraceContext

ERROR_TYPE_LENGTH = 256
ERROR_OBJECT_BYTES = 64 * 1024
"""In a larger one the type is not looked for."""
SHARED = 4096
"""What spans have in common is made once for so many functions, and instances."""
BLANK_ID, BLANK_NS, BLANK_REQUEST_ID = "f" * 16, 2**64 - 1, "\0" * 36
"""What is not said yet. No text has such bytes: neither UTF-8 has 0xFF, nor a name or a path NUL."""

NewId = Callable[[], str]
"""Gives sixteen random hexadecimal digits."""
Value = str | int | bool
Attributes = tuple[tuple[str, Value], ...]
"""The values of one name have one type: True and 1 are the same where something is kept by its attributes."""


class Kind(IntEnum):
    """OTLP's numbers."""

    __hash__ = int.__hash__
    """Enum's own is written in Python, and this is a key for each span."""

    INTERNAL = 1
    SERVER = 2
    PRODUCER = 4
    CONSUMER = 5


class Span(NamedTuple):
    """One span. `common` are the attributes that many spans of this name share.

    The ids are hexadecimal digits, 32 of the trace and 16 of a span; an empty `parent_id` begins the trace.
    """

    name: str
    kind: Kind
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    common: Attributes = ()
    attributes: Attributes = ()
    links: Sequence[TraceContext] = ()
    failed: bool = False

    @property
    def context(self) -> TraceContext:
        """Its place, for what it causes."""
        return TraceContext(self.trace_id, self.span_id, sampled=True)


class Record(Protocol):
    """Spans that belong together, not made yet."""

    @property
    def size(self) -> int:
        """How many there are."""

    def spans(self, new_id: NewId) -> Sequence[Span]:
        """The spans themselves, the parents first."""


class Birth(NamedTuple):
    """When an instance was ready, and what came before."""

    ready_ns: int
    phases: Sequence[Phase]


class Invocation(NamedTuple):
    """All that is known of an invocation once it is answered."""

    key: str
    common: Attributes
    """Of the function and the trigger."""
    trace_id: str
    parent_id: str
    """The caller's span; empty: this begins the trace."""
    handler_id: str
    """The handler's span, which the function was told of; the others' ids are given when the spans are made."""
    start_ns: int
    end_ns: int
    queue_ns: int
    request_id: str
    method: bytes
    """Of the caller's request."""
    status: int
    """Of HTTP, for the caller."""
    error_type: str | None = None
    function_failed: bool = False
    instance: str | None = None
    """None: the function has not run."""
    duration_us: int | None = None
    """Of the handler. None: nobody said."""
    init_us: int | None = None
    """Of the init phase, on the first answer after it."""
    birth: Birth | None = None

    @property
    def size(self) -> int:
        """How many spans it has."""
        if self.init_us is not None:
            return len(self.spans(str))
        return 1 + (self._sent_ns > self.start_ns) + (self.instance is not None)

    def spans(self, new_id: NewId) -> list[Span]:
        """Its spans, the parents first."""
        root_id = new_id()
        name, common = _server_span(
            self.key, self.common, self.init_us is not None, self.method, self.status, self.error_type
        )
        root = Span(
            name, Kind.SERVER, self.trace_id, root_id, self.parent_id, self.start_ns, self.end_ns,
            common, (("faas.invocation_id", self.request_id),), (), self.error_type is not None,
        )  # fmt: skip
        spans, sent_ns = [root], self._sent_ns
        if sent_ns > self.start_ns:
            spans += self._waiting(root_id, sent_ns, new_id)
        if self.instance is not None:
            spans += self._running(root_id, self.instance, sent_ns, new_id)
        return spans

    @property
    def _sent_ns(self) -> int:
        return min(self.start_ns + self.queue_ns, self.end_ns)

    def _waiting(self, root_id: str, sent_ns: int, new_id: NewId) -> Iterator[Span]:
        queue = Span("queue", Kind.INTERNAL, self.trace_id, new_id(), root_id, self.start_ns, sent_ns)
        yield queue
        if self.birth is None or self.init_us is None:
            return
        for phase in self.birth.phases:
            began, ended = (self.birth.ready_ns - round(ago * 1e9) for ago in (phase.began, phase.ended))
            began, ended = max(began, queue.start_ns), min(ended, queue.end_ns)
            if began < ended:
                yield Span(phase.name, Kind.INTERNAL, self.trace_id, new_id(), queue.span_id, began, ended)

    def _running(self, root_id: str, instance: str, sent_ns: int, new_id: NewId) -> Iterator[Span]:
        """The import goes on while the call is on its way; what then is left over of the time is the way itself."""
        init_ns = (self.init_us or 0) * 1000
        imported_ns = init_ns and (self.birth.ready_ns if self.birth else sent_ns) + init_ns
        began_ns, ended_ns = place_handler(sent_ns, self.end_ns, self.duration_us, imported_ns)
        if init_ns:
            imported_ns = min(imported_ns, began_ns)
            import_began_ns = max(self.start_ns, imported_ns - init_ns)
            if import_began_ns < imported_ns:
                yield Span("init", Kind.INTERNAL, self.trace_id, new_id(), root_id, import_began_ns, imported_ns)
        common = _handler_attributes(instance, self.error_type if self.function_failed else None)
        yield Span(
            "handler", Kind.INTERNAL, self.trace_id, self.handler_id, root_id, began_ns, ended_ns,
            common, (), (), self.function_failed,
        )  # fmt: skip


def place_handler(sent_ns: int, end_ns: int, duration_us: int | None, imported_ns: int = 0) -> tuple[int, int]:
    """When the handler began and ended: once its module was there, and in the middle of the time that is left."""
    window_ns = end_ns - sent_ns
    run_ns = window_ns if duration_us is None else min(duration_us * 1000, window_ns)
    way_ns = window_ns - run_ns
    waited_ns = min(imported_ns - sent_ns, way_ns) if imported_ns > sent_ns else 0
    began_ns = sent_ns + waited_ns + (way_ns - waited_ns) // 2
    return began_ns, began_ns + run_ns


class WarmInvocation(NamedTuple):
    """An invocation that succeeded and waited for nothing, as nearly all do: what tells it from its likes."""

    model: Invocation
    """What they share (`model_invocation`)."""
    trace_id: str
    parent_id: str
    handler_id: str
    start_ns: int
    end_ns: int
    request_id: str
    duration_us: int | None

    @property
    def size(self) -> int:
        """The call's and the handler's."""
        return 2

    def spans(self, new_id: NewId) -> list[Span]:
        """Its spans, the parent first."""
        call = self.model._replace(
            trace_id=self.trace_id, parent_id=self.parent_id, handler_id=self.handler_id, start_ns=self.start_ns,
            end_ns=self.end_ns, request_id=self.request_id, duration_us=self.duration_us,
        )  # fmt: skip
        return call.spans(new_id)


@lru_cache(SHARED)
def model_invocation(
    region: str, key: str, trigger: str, route: str, method: bytes, status: int, instance: str, is_child: bool
) -> Invocation:
    """What warm invocations of a function by an instance share; the rest is blank. `is_child`: of a caller's span."""
    common = function_attributes(region, key, trigger, route)
    return Invocation(
        key, common, 2 * BLANK_ID, BLANK_ID if is_child else "", BLANK_ID, BLANK_NS, BLANK_NS, 0,
        BLANK_REQUEST_ID, method, status, instance=instance,
    )  # fmt: skip


@lru_cache(SHARED)
def _server_span(
    key: str, common: Attributes, cold: bool, method: bytes, status: int, error_type: str | None
) -> tuple[str, Attributes]:
    """The name of an invocation's first span, and what others of the function have like it."""
    attributes: Attributes = (
        *common,
        ("faas.coldstart", cold),
        ("http.request.method", method.decode()),
        ("http.response.status_code", status),
        *error_attributes(error_type),
    )
    return f"invoke {key.partition('/')[2]}", attributes


@lru_cache(SHARED)
def _handler_attributes(instance: str, error_type: str | None) -> Attributes:
    return (("faas.instance", instance), *error_attributes(error_type))


def error_attributes(error_type: str | None) -> Attributes:
    """What a span says of a failure: its class, never its text, which may tell of the payload."""
    return () if error_type is None else (("error.type", error_type),)


def find_error_type(error: str, payload: bytes) -> str:
    """The errorType of Lambda's error object; `error` (Handled, Unhandled) where it has none."""
    if len(payload) > ERROR_OBJECT_BYTES:
        return error
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return error
    name = found.get("errorType") if isinstance(found, dict) else None
    if not isinstance(name, str) or not name:
        return error
    return name[:ERROR_TYPE_LENGTH].encode(errors="replace").decode()  # JSON can name half a character


class OneSpan(NamedTuple):
    """A span that stands for itself."""

    span: Span

    @property
    def size(self) -> int:
        """One."""
        return 1

    def spans(self, _: NewId) -> list[Span]:
        """The span."""
        return [self.span]


@lru_cache(SHARED)
def function_attributes(region: str, key: str, trigger: str, route: str = "") -> Attributes:
    """What all invocations of one version of a function by one trigger share."""
    namespace = key.partition("/")[0]
    name = name_of(key)
    arn = function_arn(region, namespace, name)
    common: Attributes = (
        ("faas.name", name),
        ("faas.version", version_of(key)),
        ("faas.trigger", trigger),
        ("cloud.resource_id", arn),
        ("k8s.namespace.name", namespace),
    )
    return (*common, ("http.route", route)) if route else common


def message_attributes(operation: str, destination: str, system: str = "nats") -> Attributes:
    """What all messages of a subject or queue share. https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/"""
    return (
        ("messaging.system", system),
        ("messaging.operation.name", operation),
        ("messaging.operation.type", {"publish": "send"}.get(operation, operation)),
        ("messaging.destination.name", destination),
    )
