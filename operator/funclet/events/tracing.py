"""The spans of this role: one for each attempt of an event, and one for each batch of messages.

An attempt is a child of the event's acceptance. A batch begins a trace of its own, with a link to where each of its
messages comes from, if the message's headers say so. The invocations are their children.
"""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from funclet.adapters.event_streams import EVENT_SUBJECT, place
from funclet.adapters.otlp.exporter import SpanExporter
from funclet.core.asynchronous import Attempt, Event, NotRun, Ran, Stopped
from funclet.core.settlement import Answer, Failed, Postponed
from funclet.core.spans import (
    Attributes,
    Kind,
    OneSpan,
    Span,
    error_attributes,
    find_error_type,
    message_attributes,
)
from funclet.core.sqs_event import QueueMessage
from funclet.core.trace import TraceContext, format_context, from_traceparent, move, read_context

LINKS = 128
"""As many as OpenTelemetry's SDKs take of one span, by default."""
TRACE_HEADER, TRIGGER_HEADER = "x-amzn-trace-id", "x-funclet-trigger"


@dataclass(slots=True)
class Operation:
    """Work that may be recorded. `header` is the trace header for what it causes; empty: it says nothing."""

    header: str = ""
    exporter: SpanExporter | None = None
    """None: it is not recorded."""
    span: Span | None = None

    def end(self, error_type: str | None) -> None:
        """It is over; `error_type` says why it failed, if it did."""
        if self.exporter is not None and self.span is not None:
            attributes = (*self.span.attributes, *error_attributes(error_type))
            end_ns = max(self.span.start_ns, time.time_ns())
            ended = self.span._replace(end_ns=end_ns, attributes=attributes, failed=error_type is not None)
            self.exporter.put(lambda: OneSpan(ended))


class EventTracer:
    """Decides what is recorded; without an exporter nothing is."""

    def __init__(self, exporter: SpanExporter | None) -> None:
        self._exporter = exporter

    def attempt(self, event: Event, number: int) -> Operation:
        """One attempt of an event, the first being 1."""
        parent = read_context(event.trace_id)
        if self._exporter is None or parent is None or not self._exporter.sampler.samples(*_decision(parent)):
            return Operation(event.trace_id)
        subject = place(EVENT_SUBJECT, event.key)
        attributes: Attributes = (("messaging.message.id", event.request_id), ("funclet.attempt", number))
        span = self._begin(f"process {subject}", parent, message_attributes("process", subject), attributes)
        return Operation(move(event.trace_id, span.context), self._exporter, span)

    def batch(self, subject: str, messages: Sequence[QueueMessage], system: str = "nats") -> Operation:
        """A batch of messages of this subject, or of this queue of another system."""
        if self._exporter is None:
            return Operation()
        root = TraceContext(f"{int(time.time()):08x}{secrets.token_hex(12)}", sampled=False)
        if not self._exporter.sampler.samples(root.trace_id):
            return Operation(format_context(root))
        links = tuple(find_origins(messages))
        count: Attributes = (("messaging.batch.message_count", len(messages)),)
        span = self._begin(f"process {subject}", root, message_attributes("process", subject, system), count)
        return Operation(format_context(span.context), self._exporter, span._replace(links=links))

    def _begin(self, name: str, parent: TraceContext, common: Attributes, attributes: Attributes) -> Span:
        assert self._exporter is not None
        span_id, now_ns = self._exporter.new_id(), time.time_ns()
        return Span(
            name, Kind.CONSUMER, parent.trace_id, span_id, parent.span_id, now_ns, now_ns, common, attributes
        )  # fmt: skip


def _decision(parent: TraceContext) -> tuple[str, bool | None]:
    return parent.trace_id, parent.sampled


def find_origins(messages: Sequence[QueueMessage]) -> Iterator[TraceContext]:
    """Where these messages come from, of those that say so: W3C's traceparent, or X-Ray's header."""
    for message in messages[:LINKS]:
        headers = {name.lower(): value for name, value in message.headers.items()}
        given = headers.get(TRACE_HEADER) or from_traceparent(headers.get("traceparent", ""))
        context = read_context(given) if given else None
        if context is not None and context.span_id:
            yield context


def batch_headers(operation: Operation) -> Mapping[str, str]:
    """How the gateway is told what an invocation for messages belongs to."""
    return {TRACE_HEADER: operation.header, TRIGGER_HEADER: "pubsub"} if operation.header else {}


def attempt_error(attempt: Attempt) -> str | None:
    """Why an attempt failed, if it did."""
    match attempt:
        case Ran(error=error, payload=payload):
            return find_error_type(error, payload) if error else None
        case NotRun(reason=reason):
            return reason
        case Stopped(condition=condition):
            return condition


def batch_error(answer: Answer) -> str | None:
    """Why a batch failed, if it did."""
    match answer:
        case Failed():
            return "FunctionFailed"
        case Postponed(reason=reason):
            return reason
        case _:
            return None
