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
    BLANK_REQUEST_ID,
    Invocation,
    Kind,
    OneSpan,
    Record,
    Span,
    WarmInvocation,
    error_attributes,
    find_error_type,
    function_attributes,
    message_attributes,
    model_invocation,
)
from funclet.core.trace import TraceContext, move, read_context, read_trace_id
from funclet.errors import Unavailable
from funclet.gateway.call import Acceptance, Call, InstanceAnswer
from funclet.gateway.identifiers import LOWER_DIGITS, UNDECIDED, new_trace_id

TRIGGER = b"x-funclet-trigger"
"""By it the events role says that an invocation is one for messages."""
SERVER_ERROR = 500
FOR_EVER_SECONDS = 1e6
"""Longer than any call waits: all of its time is meant."""


class Tracer:
    """Decides which calls are recorded."""

    def __init__(self, exporter: SpanExporter, region: str) -> None:
        self.put = exporter.put
        self._sampler = exporter.sampler
        self._bound = exporter.sampler.bound
        self.new_id = exporter.new_id
        self.region = region

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
        if parent is None:
            return header
        root = f"Root=1-{parent.trace_id[:8]}-{parent.trace_id[8:]}"
        handler_id = self._record(call, root, parent.span_id, trigger, route)
        return move(header, TraceContext(parent.trace_id, handler_id, sampled=True))

    def begin_trace(self, call: Call, header: str, trigger: str = "other", route: str = "") -> str:
        """The same of a call without a trace, whose header is `new_trace_id`'s, at its least price."""
        if header[LOWER_DIGITS] >= self._bound:
            return header
        root, _, rest = header.partition(UNDECIDED)
        return f"{root};Parent={self._record(call, root, '', trigger, route)};Sampled=1{rest}"

    def _record(self, call: Call, root: str, parent_id: str, trigger: str, route: str) -> str:
        """Have the call's reply note how it ends; returns the id of the handler's span."""
        call.reply = reply = RecordedReply(self, call, root, parent_id, trigger, route)
        return reply.handler_id

    def accept(self, acceptance: Acceptance, fields: Mapping[bytes, bytes]) -> Acceptance:
        """The same for an event: its attempts come below its acceptance."""
        event = acceptance.event
        parent = self._parent(read_trace_id(fields), event.trace_id)
        if parent is None:
            return acceptance
        began_ns = time.time_ns()
        span_id = self.new_id()
        subject = place(EVENT_SUBJECT, event.key)

        def end(error: BaseException | None) -> None:
            reason = (error.reason if isinstance(error, Unavailable) else type(error).__name__) if error else None
            attributes = (("messaging.message.id", event.request_id), *error_attributes(reason))
            span = Span(
                f"publish {subject}", Kind.PRODUCER, parent.trace_id, span_id, parent.span_id, began_ns,
                max(began_ns, time.time_ns()),
                message_attributes("publish", subject), attributes, failed=error is not None,
            )  # fmt: skip
            self.put(lambda: OneSpan(span))

        place_of_event = TraceContext(parent.trace_id, span_id, sampled=True)
        event = dataclasses.replace(event, trace_id=move(event.trace_id, place_of_event))
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
    """Answers as the call's own reply does, and notes no more than what the spans are made of later."""

    __slots__ = (
        "_duration_us", "_end_ns", "_error_type", "_failed", "_init_us", "_instance", "_key", "_method", "_parent_id",
        "_queue_seconds", "_reply", "_request_id", "_root", "_route", "_start_ns", "_status", "_stream_status",
        "_tracer", "_trigger", "handler_id",
    )  # fmt: skip

    def __init__(self, tracer: Tracer, call: Call, root: str, parent_id: str, trigger: str, route: str) -> None:
        self._start_ns = time.time_ns()
        self._tracer = tracer
        self._reply = call.reply
        self._key = call.served.key
        self._request_id = call.request_id
        self._method = call.request.method
        self._root = root
        self._parent_id = parent_id
        self._trigger = trigger
        self._route = route
        self._stream_status: int | None = None
        """Of a stream, which begins before the function has ended."""
        self.handler_id = tracer.new_id()

    def streamed(self, call: Call, content_type: str, pieces: list[bytes]) -> bool:
        """A part of a stream; with the first one comes the status."""
        goes_on = self._reply.streamed(call, content_type, pieces)
        if self._stream_status is None and (split := split_stream(content_type, call.stream_start)) is not None:
            self._stream_status = split[0].status
        return goes_on

    def answered(self, call: Call, answer: InstanceAnswer) -> int:
        """The function has run."""
        status = self._reply.answered(call, answer)
        self._status = status = self._stream_status or status
        self._failed = answer.error is not None
        self._error_type = find_error_type(answer.error, answer.body) if answer.error else None
        self._queue_seconds = call.sent_at - call.queued_at
        self._instance = None if call.slot is None else call.slot.instance
        self._duration_us = answer.duration_us
        self._init_us = answer.init_us
        self._end_ns = time.time_ns()
        self._tracer.put(self.tell)
        return status

    def refused(self, call: Call, error: LambdaError) -> int:
        """The function has not run; a call that was admitted has waited."""
        self._status = status = self._reply.refused(call, error)
        self._failed = False
        self._error_type = error.error_type
        self._queue_seconds = FOR_EVER_SECONDS if call.queued_at else 0.0
        self._instance = self._duration_us = self._init_us = None
        self._end_ns = time.time_ns()
        self._tracer.put(self.tell)
        return status

    def tell(self) -> Record:
        """What is known of the invocation now."""
        region, root, instance = self._tracer.region, self._root, self._instance
        trace_id, end_ns = root[7:15] + root[16:], max(self._start_ns, self._end_ns)
        if self._is_plain and instance is not None:
            model = model_invocation(
                region, self._key, self._trigger, self._route, self._method, self._status, instance.address.name,
                self._parent_id != "",
            )  # fmt: skip
            return WarmInvocation(
                model, trace_id, self._parent_id, self.handler_id, self._start_ns, end_ns, self._request_id,
                self._duration_us,
            )  # fmt: skip
        error_type = self._error_type
        if error_type is None and self._status >= SERVER_ERROR:
            error_type = str(self._status)
        return Invocation(
            self._key, function_attributes(region, self._key, self._trigger, self._route),
            trace_id, self._parent_id, self.handler_id, self._start_ns, end_ns, round(self._queue_seconds * 1e9),
            self._request_id, self._method, self._status, error_type, self._failed,
            None if instance is None else instance.address.name, self._duration_us, self._init_us,
            None if instance is None else instance.birth,
        )  # fmt: skip

    @property
    def _is_plain(self) -> bool:
        """Whether its spans have the shape of most."""
        return (
            self._init_us is None
            and not self._queue_seconds
            and self._error_type is None
            and self._status < SERVER_ERROR
            and len(self._request_id) == len(BLANK_REQUEST_ID)
            and self._request_id.isascii()
        )
