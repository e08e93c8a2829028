"""What is written in parts is what OpenTelemetry's own messages read."""

from base64 import b64encode
from typing import Any

from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from funclet.adapters.otlp.encoding import Batch
from funclet.core.spans import Attributes, Kind, OneSpan, Record, Span, Value, WarmInvocation, model_invocation
from funclet.core.trace import TraceContext

SAMPLED, REMOTE_AND_SAMPLED = 0x1, 0x301
NEW_ID = "e" * 16
digits = st.sampled_from("0123456789abcdef")
trace_ids, span_ids = (st.text(digits, min_size=size, max_size=size) for size in (32, 16))
moments = st.integers(0, 2**64 - 1)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
"""Any text but half characters; no name, path or method has NUL."""
names = words.filter(bool)
own = (
    st.tuples(names.map("text.{}".format), words)
    | st.tuples(names.map("number.{}".format), st.integers(-(2**63), 2**63 - 1))
    | st.tuples(names.map("truth.{}".format), st.booleans())
)
attributes = st.lists(own, max_size=3).map(tuple)
"""The values of one name have one type."""
contexts = st.builds(TraceContext, trace_ids, span_ids, st.just(True))
spans = st.builds(
    Span, words, st.sampled_from(Kind), trace_ids, span_ids, span_ids | st.just(""), moments, moments,
    attributes, attributes, st.lists(contexts, max_size=2), st.booleans(),
)  # fmt: skip


@st.composite
def warm_invocations(draw: st.DrawFn) -> WarmInvocation:
    """Of any function; what waits for an answer of many seconds is no less warm."""
    parent_id = draw(st.just("") | span_ids)
    key, method = f"shop/{draw(words)}", draw(st.sampled_from([b"GET", b"POST"]))
    model = model_invocation(
        "r", key, draw(words), draw(words), method, draw(st.integers(200, 499)), draw(words), parent_id != ""
    )
    start_ns, end_ns = sorted((draw(moments), draw(moments)))
    return WarmInvocation(
        model, draw(trace_ids), parent_id, draw(span_ids), start_ns, end_ns, str(draw(st.uuids())),
        draw(st.none() | st.integers(0, 10**12)),
    )  # fmt: skip


def key_value(name: str, value: Value) -> dict[str, Any]:
    """An attribute in the JSON of OTLP, where whole numbers are text."""
    kind = {bool: "boolValue", int: "intValue", str: "stringValue"}[type(value)]
    return {"key": name, "value": {kind: str(value) if kind == "intValue" else value}}


def base64(digits: str) -> str:
    """As protobuf's JSON has bytes."""
    return b64encode(bytes.fromhex(digits)).decode()


def document(span: Span) -> dict[str, Any]:
    """The span in protobuf's JSON, without what is empty."""
    told: Attributes = (*span.common, *span.attributes)
    links = [
        {"traceId": base64(link.trace_id), "spanId": base64(link.span_id), "flags": REMOTE_AND_SAMPLED}
        for link in span.links
    ]
    whole = {
        "name": span.name,
        "kind": f"SPAN_KIND_{span.kind.name}",
        "traceId": base64(span.trace_id),
        "spanId": base64(span.span_id),
        "parentSpanId": base64(span.parent_id),
        "startTimeUnixNano": str(span.start_ns) if span.start_ns else "",
        "endTimeUnixNano": str(span.end_ns) if span.end_ns else "",
        "attributes": [key_value(*attribute) for attribute in told],
        "links": links,
        "status": {"code": "STATUS_CODE_ERROR"} if span.failed else {},
        "flags": SAMPLED,
    }
    return {name: value for name, value in whole.items() if value}


@given(st.lists(spans.map(OneSpan) | warm_invocations(), max_size=5), st.dictionaries(names, words, max_size=3))
def test_opentelemetry_reads_what_was_written(records: list[Record], resource: dict[str, str]) -> None:
    batch = Batch(resource, lambda: NEW_ID)
    for record in records:
        batch.add(record)
    (group,) = ExportTraceServiceRequest.FromString(batch.encode()).resource_spans
    expected = [document(span) for record in records for span in record.spans(lambda: NEW_ID)]
    (scope,) = group.scope_spans
    assert [MessageToDict(span) for span in scope.spans] == expected
    assert (len(batch), batch.records) == (len(expected), len(records))
    assert [MessageToDict(pair) for pair in group.resource.attributes] == [
        key_value(*pair) for pair in resource.items()
    ]
