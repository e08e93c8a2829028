"""Spans as OpenTelemetry's protobuf messages. Imported only when spans are exported.

Fields may come in any order (https://protobuf.dev/programming-guides/encoding/#order), so two encoded messages, one
behind the other, are both in one. A span is written so: its ids and times, which have their places in a form since
their widths are fixed; what spans of its name share, which is encoded once; and what it has beside. A message of its
own for each span would take three times as long.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import cast

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, SpanFlags, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from funclet.core.spans import (
    BLANK_ID,
    BLANK_NS,
    BLANK_REQUEST_ID,
    SHARED,
    Attributes,
    Invocation,
    Kind,
    NewId,
    Record,
    Span,
    Value,
    WarmInvocation,
    place_handler,
)
from funclet.core.trace import TraceContext

SCOPE = "funclet"
_SAMPLED = 1
_REMOTE = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK | _SAMPLED
_LENGTH_DELIMITED = 2

_BLANK = bytes.fromhex(BLANK_ID)
_FIRST = SpanMessage(trace_id=2 * _BLANK, span_id=_BLANK).SerializeToString().hex()
_CHILD = SpanMessage(trace_id=2 * _BLANK, span_id=_BLANK, parent_span_id=_BLANK).SerializeToString().hex()
_IDS, _IDS_OF_CHILD = (form.replace(2 * BLANK_ID, "%s").replace(BLANK_ID, "%s") for form in (_FIRST, _CHILD))
"""Forms, in hexadecimal digits as the ids are."""
_MOMENTS = SpanMessage(start_time_unix_nano=BLANK_NS, end_time_unix_nano=BLANK_NS).SerializeToString()
_TIMES = _MOMENTS.replace(_BLANK, b"%b")


class Batch:
    """One request to a collector."""

    def __init__(self, resource: Mapping[str, str], new_id: NewId) -> None:
        self._new_id = new_id
        self._count = 0
        self.records = 0
        """How many were added."""
        attributes = [_key_value(name, value) for name, value in resource.items()]
        self._resource = ResourceSpans(resource=Resource(attributes=attributes)).SerializeToString()
        self._spans: list[bytes] = []

    def __len__(self) -> int:
        return self._count

    def add(self, record: Record) -> None:
        """Take its spans too."""
        if isinstance(record, WarmInvocation):
            self._spans.append(_fill(record, self._new_id()))
        else:
            self._spans += map(_encode, record.spans(self._new_id))
        self._count += record.size
        self.records += 1

    def encode(self) -> bytes:
        """The body."""
        scope = ScopeSpans(scope=InstrumentationScope(name=SCOPE)).SerializeToString()
        scope_spans = _embed(ResourceSpans.SCOPE_SPANS_FIELD_NUMBER, scope, *self._spans)
        return _embed(ExportTraceServiceRequest.RESOURCE_SPANS_FIELD_NUMBER, self._resource, scope_spans)


def rejected_spans(body: bytes) -> int:
    """How many spans the collector did not take, by its answer; 0 where that is no answer of OTLP's."""
    try:
        return max(0, ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)
    except DecodeError:
        return 0


def _fill(call: WarmInvocation, root_id: str) -> bytes:
    """The spans of a warm invocation: those of its model, with the blanks filled in."""
    model, trace_id, parent_id, handler_id, start_ns, end_ns, request_id, duration_us = call
    began_ns, ended_ns = place_handler(start_ns, end_ns, duration_us)
    trace, root = bytes.fromhex(trace_id), bytes.fromhex(root_id)
    ids = (trace, root, bytes.fromhex(parent_id)) if parent_id else (trace, root)
    return _make_form(model) % (
        *ids, start_ns.to_bytes(8, "little"), end_ns.to_bytes(8, "little"), request_id.encode(),
        trace, bytes.fromhex(handler_id), root, began_ns.to_bytes(8, "little"), ended_ns.to_bytes(8, "little"),
    )  # fmt: skip


@lru_cache(SHARED)
def _make_form(model: Invocation) -> bytes:
    form = b"".join(map(_encode, model.spans(lambda: BLANK_ID))).replace(b"%", b"%%")
    for blank in (2 * _BLANK, _BLANK, BLANK_REQUEST_ID.encode()):
        form = form.replace(blank, b"%b")
    return form


def _encode(span: Span) -> bytes:
    """A span as a part of its ScopeSpans."""
    name, kind, trace_id, span_id, parent_id, start_ns, end_ns, common, attributes, links, failed = span
    ids = _IDS_OF_CHILD % (trace_id, span_id, parent_id) if parent_id else _IDS % (trace_id, span_id)
    return _embed(
        ScopeSpans.SPANS_FIELD_NUMBER,
        bytes.fromhex(ids),
        _TIMES % (start_ns.to_bytes(8, "little"), end_ns.to_bytes(8, "little")),
        _encode_shared(name, kind, common, failed),
        *[_encode_attribute(*attribute) for attribute in attributes],
        *[_encode_link(link) for link in links],
    )


@lru_cache(SHARED)
def _encode_shared(name: str, kind: Kind, common: Attributes, failed: bool) -> bytes:
    number = cast("SpanMessage.SpanKind.ValueType", kind.value)
    message = SpanMessage(name=name, kind=number, flags=_SAMPLED, attributes=[_key_value(*pair) for pair in common])
    if failed:
        message.status.code = Status.STATUS_CODE_ERROR
    return message.SerializeToString()


def _encode_attribute(name: str, value: Value) -> bytes:
    if not isinstance(value, str):
        return SpanMessage(attributes=[_key_value(name, value)]).SerializeToString()
    data = value.encode()
    return _text_form(name, len(data)) + data


@lru_cache(SHARED)
def _text_form(name: str, size: int) -> bytes:
    """What comes before the text, of so many bytes, of an attribute."""
    return SpanMessage(attributes=[_key_value(name, "-" * size)]).SerializeToString()[: -size or None]


def _encode_link(link: TraceContext) -> bytes:
    trace_id, span_id = bytes.fromhex(link.trace_id), bytes.fromhex(link.span_id)
    message = SpanMessage.Link(trace_id=trace_id, span_id=span_id, flags=_REMOTE)
    return SpanMessage(links=[message]).SerializeToString()


def _key_value(name: str, value: Value) -> KeyValue:
    if isinstance(value, bool):
        return KeyValue(key=name, value=AnyValue(bool_value=value))
    if isinstance(value, int):
        return KeyValue(key=name, value=AnyValue(int_value=value))
    return KeyValue(key=name, value=AnyValue(string_value=value))


def _embed(number: int, *parts: bytes) -> bytes:
    """These parts of a message as the field of this number of another message."""
    return b"".join((_start_field(number, sum(map(len, parts))), *parts))


@lru_cache(SHARED)
def _start_field(number: int, size: int) -> bytes:
    """The field's tag, and its size by seven bits a byte, the lowest first: all but the last have the eighth bit."""
    start = bytearray((number << 3 | _LENGTH_DELIMITED,))
    while size > 0x7F:
        start.append(size & 0x7F | 0x80)
        size >>= 7
    start.append(size)
    return bytes(start)
