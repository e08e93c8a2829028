"""The spans of this gateway's invocations: begun where a call is read, ended by its reply.

A call that is recorded gets a reply that notes how it ended, around its own. So nothing between the two knows of spans,
and calls that are not recorded pay for the decision alone.
"""

import dataclasses
import time
from collections.abc import Mapping

from funclet.adapters.event_streams import EVENT_SUBJECT, place
from funclet.adapters.otlp.exporter import SpanExporter
from funclet.core.http_event import split_stream
from funclet.core.lambda_api import LambdaError
from funclet.core.spans import (
    Attributes,
    Invocation,
    Kind,
    OneSpan,
    Span,
    error_attributes,
    find_error_type,
    function_attributes,
    message_attributes,
)
from funclet.core.trace import TraceContext, move, read_context, read_trace_id
from funclet.errors import Unavailable
from funclet.gateway.call import Acceptance, Call, InstanceAnswer, Reply
from funclet.gateway.identifiers import UNDECIDED, new_trace_id

TRIGGER = b"x-funclet-trigger"
"""By it the events role says that an invocation is one for messages."""
SERVER_ERROR = 500
FOR_EVER_NS = 10**15
"""Longer than any call waits: all of its time is meant."""


class Tracer:
    """Decides which calls are recorded."""

    def __init__(self, exporter: SpanExporter, region: str) -> None:
        self.put = exporter.put
        self._sampler = exporter.sampler
        self._new_id = exporter.new_id
        self._region = region

    def begin(self, call: Call, header: str, route: str = "") -> str:
        """The trace header for the function: of a recorded call it names the handler's span.

        `header` is what it would be otherwise; `route` that of an HTTP trigger.
        """
        fields = call.request.fields
        trigger = "http" if route else "pubsub" if fields.get(TRIGGER) == b"pubsub" else "other"
        given = read_trace_id(fields)
        if given is None:
            return self.begin_trace(call, header, trigger, route)
        parent = self._parent(given, header)
        return header if parent is None else move(header, self._record(call, parent, trigger, route))

    def begin_trace(self, call: Call, header: str, trigger: str = "other", route: str = "") -> str:
        """The same of a call without a trace, whose header is `new_trace_id`'s, at its least price."""
        root, _, rest = header.partition(UNDECIDED)
        trace_id = root[7:15] + root[16:]
        if not self._sampler.samples(trace_id):
            return header
        handler = self._record(call, TraceContext(trace_id), trigger, route)
        return f"{root};Parent={handler.span_id};Sampled=1{rest}"

    def _record(self, call: Call, parent: TraceContext, trigger: str, route: str) -> TraceContext:
        """Have the call's reply note how it ends; returns the place of the handler's span."""
        common = function_attributes(self._region, call.served.key, trigger, route)
        call.reply = recorded = RecordedReply(self, call.reply, parent, self._new_id(), self._new_id(), common)
        return recorded.handler

    def accept(self, acceptance: Acceptance, fields: Mapping[bytes, bytes]) -> Acceptance:
        """The same for an event: its attempts come below its acceptance."""
        event = acceptance.event
        parent = self._parent(read_trace_id(fields), event.trace_id)
        if parent is None:
            return acceptance
        began_ns = time.time_ns()
        context = TraceContext(parent.trace_id, self._new_id(), sampled=True)
        subject = place(EVENT_SUBJECT, event.key)

        def end(error: BaseException | None) -> None:
            reason = (error.reason if isinstance(error, Unavailable) else type(error).__name__) if error else None
            attributes = (("messaging.message.id", event.request_id), *error_attributes(reason))
            span = Span(
                f"publish {subject}", Kind.PRODUCER, context, parent.span_id, began_ns, max(began_ns, time.time_ns()),
                message_attributes("publish", subject), attributes, failed=error is not None,
            )  # fmt: skip
            self.put(OneSpan(span))

        event = dataclasses.replace(event, trace_id=move(event.trace_id, context))
        return dataclasses.replace(acceptance, event=event, on_answered=end)

    def _parent(self, given: str | None, header: str) -> TraceContext | None:
        """The place in its trace of what has this header, of which the caller has `given` some or none.

        None: it is not recorded.
        """
        context = read_context(header)
        decided = context.sampled if context is not None and given is not None else None
        if context is None:  # what was given names no trace
            context = read_context(new_trace_id())
            assert context is not None
        return context if self._sampler.samples(context.trace_id, decided) else None


class RecordedReply:
    """Answers as the call's own reply does, and puts the invocation's spans into the queue."""

    __slots__ = ("_common", "_context", "_parent", "_reply", "_start_ns", "_status", "_tracer", "handler")

    def __init__(
        self, tracer: Tracer, reply: Reply, parent: TraceContext, span_id: str, handler_id: str, common: Attributes
    ) -> None:
        self._start_ns = time.time_ns()
        self._tracer = tracer
        self._reply = reply
        self._parent = parent
        self._context = TraceContext(parent.trace_id, span_id, sampled=True)
        self._common = common
        self._status: int | None = None
        """Of a stream, which begins before the function has ended."""
        self.handler = TraceContext(parent.trace_id, handler_id, sampled=True)

    def streamed(self, call: Call, content_type: str, pieces: list[bytes]) -> bool:
        """A part of a stream; with the first one comes the status."""
        goes_on = self._reply.streamed(call, content_type, pieces)
        if self._status is None and (split := split_stream(content_type, call.stream_start)) is not None:
            self._status = split[0].status
        return goes_on

    def answered(self, call: Call, answer: InstanceAnswer) -> int:
        """The function has run."""
        status = self._reply.answered(call, answer)
        status = self._status or status
        error = find_error_type(answer.error, answer.body) if answer.error else None
        if error is None and status >= SERVER_ERROR:
            error = str(status)
        assert call.slot is not None
        instance = call.slot.instance
        self._tracer.put(
            Invocation(
                call.served.key, self._common, self._context, self._parent.span_id, self.handler.span_id,
                self._start_ns, max(self._start_ns, time.time_ns()), round((call.sent_at - call.queued_at) * 1e9),
                call.request_id, call.request.method, status, error, answer.error is not None,
                instance.address.name, answer.duration_us, answer.init_us, instance.birth,
            )
        )  # fmt: skip
        return status

    def refused(self, call: Call, error: LambdaError) -> int:
        """The function has not run; a call that has a deadline has waited."""
        status = self._reply.refused(call, error)
        self._tracer.put(
            Invocation(
                call.served.key, self._common, self._context, self._parent.span_id, self.handler.span_id,
                self._start_ns, max(self._start_ns, time.time_ns()), FOR_EVER_NS if call.deadline else 0,
                call.request_id, call.request.method, status, error.error_type,
            )
        )  # fmt: skip
        return status
