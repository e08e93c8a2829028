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
from typing import NamedTuple

from funclet.core.arn import function_arn
from funclet.core.messages import Phase
from funclet.core.revision import LATEST
from funclet.core.trace import TraceContext

ERROR_TYPE_LENGTH = 256
ERROR_OBJECT_BYTES = 64 * 1024
"""In a larger one the type is not looked for."""

NewId = Callable[[], str]
"""Gives sixteen random hexadecimal digits."""
Value = str | int | bool
Attributes = tuple[tuple[str, Value], ...]


class Kind(IntEnum):
    """OTLP's numbers."""

    INTERNAL = 1
    SERVER = 2
    PRODUCER = 4
    CONSUMER = 5


class Span(NamedTuple):
    """One span. `common` are the attributes that many spans of this name share."""

    name: str
    kind: Kind
    context: TraceContext
    parent_id: str
    start_ns: int
    end_ns: int
    common: Attributes = ()
    attributes: Attributes = ()
    links: Sequence[TraceContext] = ()
    failed: bool = False


class Birth(NamedTuple):
    """When an instance was ready, and what came before."""

    ready_ns: int
    phases: Sequence[Phase]


class Invocation(NamedTuple):
    """All that is known of an invocation once it is answered. The ids are those of its spans."""

    key: str
    common: Attributes
    """Of the function and the trigger."""
    context: TraceContext
    parent_id: str
    handler_id: str
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
        name = self.key.partition("/")[2]
        common: Attributes = (
            *self.common,
            ("faas.coldstart", self.init_us is not None),
            ("http.request.method", self.method.decode()),
            ("http.response.status_code", self.status),
            *error_attributes(self.error_type),
        )
        root = Span(
            f"invoke {name}", Kind.SERVER, self.context, self.parent_id, self.start_ns, self.end_ns,
            common, (("faas.invocation_id", self.request_id),), (), self.error_type is not None,
        )  # fmt: skip
        sent_ns = self._sent_ns
        spans = [root] if sent_ns == self.start_ns else [root, *self._waiting(sent_ns, new_id)]
        if self.instance is not None:
            spans += self._running(self.instance, sent_ns, new_id)
        return spans

    @property
    def _sent_ns(self) -> int:
        return min(self.start_ns + self.queue_ns, self.end_ns)

    def _waiting(self, sent_ns: int, new_id: NewId) -> Iterator[Span]:
        queue = self._child("queue", new_id(), self.start_ns, sent_ns)
        yield queue
        if self.birth is None or self.init_us is None:
            return
        for phase in self.birth.phases:
            began, ended = (self.birth.ready_ns - round(ago * 1e9) for ago in (phase.began, phase.ended))
            began, ended = max(began, queue.start_ns), min(ended, queue.end_ns)
            if began < ended:
                yield self._child(phase.name, new_id(), began, ended, parent_id=queue.context.span_id)

    def _running(self, instance: str, sent_ns: int, new_id: NewId) -> Iterator[Span]:
        """The import goes on while the call is on its way; what then is left over of the time is the way itself."""
        window_ns = self.end_ns - sent_ns
        run_ns = window_ns if self.duration_us is None else min(self.duration_us * 1000, window_ns)
        waited_ns = 0
        if self.init_us:
            init_ns = self.init_us * 1000
            imported_ns = (self.birth.ready_ns if self.birth else sent_ns) + init_ns
            waited_ns = min(max(0, imported_ns - sent_ns), window_ns - run_ns)
        began_ns = sent_ns + waited_ns + (window_ns - run_ns - waited_ns) // 2
        if self.init_us:
            imported_ns = min(imported_ns, began_ns)
            import_began_ns = max(self.start_ns, imported_ns - init_ns)
            if import_began_ns < imported_ns:
                yield self._child("init", new_id(), import_began_ns, imported_ns)
        error = self.error_type if self.function_failed else None
        common: Attributes = (("faas.instance", instance), *error_attributes(error))
        context = TraceContext(self.context.trace_id, self.handler_id, True)
        parent_id = self.context.span_id
        yield Span(
            "handler", Kind.INTERNAL, context, parent_id, began_ns, began_ns + run_ns, common, (), (),
            self.function_failed,
        )  # fmt: skip

    def _child(self, name: str, span_id: str, start_ns: int, end_ns: int, *, parent_id: str = "") -> Span:
        context = TraceContext(self.context.trace_id, span_id, sampled=True)
        return Span(name, Kind.INTERNAL, context, parent_id or self.context.span_id, start_ns, end_ns)


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
    return name[:ERROR_TYPE_LENGTH] if isinstance(name, str) and name else error


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


@lru_cache(1024)
def function_attributes(region: str, key: str, trigger: str, route: str = "") -> Attributes:
    """What all invocations of the function `namespace/name` by one trigger share."""
    namespace, _, name = key.partition("/")
    arn = function_arn(region, namespace, name)
    common: Attributes = (
        ("faas.name", name),
        ("faas.version", LATEST),
        ("faas.trigger", trigger),
        ("cloud.resource_id", arn),
        ("k8s.namespace.name", namespace),
    )
    return (*common, ("http.route", route)) if route else common


def message_attributes(operation: str, destination: str) -> Attributes:
    """What all messages of a subject share. https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/"""
    return (
        ("messaging.system", "nats"),
        ("messaging.operation.name", operation),
        ("messaging.operation.type", {"publish": "send"}.get(operation, operation)),
        ("messaging.destination.name", destination),
    )
