"""Spans as OpenTelemetry's protobuf messages. Imported only when spans are exported."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import cast

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, SpanFlags, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from funclet.core.spans import Attributes, Kind, Span, Value

SCOPE = "funclet"
TEMPLATES = 1024
"""Functions whose common attributes are kept as a message: copying it takes a fifth of making it."""
_SAMPLED = 1
_REMOTE = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK | _SAMPLED


class Batch:
    """One request to a collector."""

    def __init__(self, resource: Mapping[str, str]) -> None:
        self._request = ExportTraceServiceRequest()
        group = self._request.resource_spans.add()
        group.resource.attributes.extend(_key_value(name, value) for name, value in resource.items())
        self._scope: ScopeSpans = group.scope_spans.add()
        self._scope.scope.name = SCOPE

    def __len__(self) -> int:
        return len(self._scope.spans)

    def add(self, spans: Iterable[Span]) -> None:
        """Take these too."""
        for span in spans:
            _fill(self._scope.spans.add(), span)

    def encode(self) -> bytes:
        """The body."""
        return self._request.SerializeToString()


def rejected_spans(body: bytes) -> int:
    """How many spans the collector did not take, by its answer; 0 where that is no answer of OTLP's."""
    try:
        return max(0, ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)
    except DecodeError:
        return 0


def _fill(message: SpanMessage, span: Span) -> None:
    message.CopyFrom(_template(span.name, span.kind, span.common))
    message.trace_id = bytes.fromhex(span.context.trace_id)
    message.span_id = bytes.fromhex(span.context.span_id)
    if span.parent_id:
        message.parent_span_id = bytes.fromhex(span.parent_id)
    message.start_time_unix_nano = span.start_ns
    message.end_time_unix_nano = span.end_ns
    for name, value in span.attributes:
        _set(message.attributes.add(), name, value)
    for link in span.links:
        trace_id, span_id = bytes.fromhex(link.trace_id), bytes.fromhex(link.span_id)
        message.links.add(trace_id=trace_id, span_id=span_id, flags=_REMOTE)
    if span.failed:
        message.status.code = Status.STATUS_CODE_ERROR


@lru_cache(TEMPLATES)
def _template(name: str, kind: Kind, common: Attributes) -> SpanMessage:
    number = cast("SpanMessage.SpanKind.ValueType", kind.value)
    return SpanMessage(name=name, kind=number, flags=_SAMPLED, attributes=[_key_value(*pair) for pair in common])


def _key_value(name: str, value: Value) -> KeyValue:
    made = KeyValue()
    _set(made, name, value)
    return made


def _set(message: KeyValue, name: str, value: Value) -> None:
    message.key = name
    if isinstance(value, bool):
        message.value.bool_value = value
    elif isinstance(value, int):
        message.value.int_value = value
    else:
        message.value.string_value = value
