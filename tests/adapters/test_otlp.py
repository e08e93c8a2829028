"""Spans on their way to a real OpenTelemetry Collector, and to servers that are down, slow, or say no."""

import asyncio
import contextlib
import functools
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from prometheus_client import REGISTRY
from tests.collector.collector import Collector

from funclet.adapters.otlp.exporter import SLICE, SpanExporter, open_exporter
from funclet.adapters.otlp.settings import OtlpSettings
from funclet.core.spans import Kind, OneSpan, Span
from funclet.core.trace import TraceContext

TRACE, ORIGIN = "5759e988bd862e3fe1be46a994272793", TraceContext("e" * 32, "f" * 16, sampled=True)
START_NS, END_NS = 1_700_000_000_000_000_001, 1_700_000_000_000_000_007
QUICK = OtlpSettings("", delay_seconds=0.01, timeout_seconds=0.3)
Answer = Callable[[web.Request], Awaitable[web.Response]]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def record(number: int = 1, name: str = "process orders") -> OneSpan:
    span = Span(
        name, Kind.CONSUMER, TRACE, f"{number:016x}", "c" * 16,
        START_NS, END_NS, (("messaging.system", "nats"),),
        (("messaging.batch.message_count", number), ("faas.coldstart", True)), (ORIGIN,), failed=True,
    )  # fmt: skip
    return OneSpan(span)


def counted(reason: str = "") -> float:
    """Spans that were dropped for this reason so far, or that were exported."""
    if reason:
        return REGISTRY.get_sample_value("funclet_spans_dropped_total", {"reason": reason}) or 0
    return REGISTRY.get_sample_value("funclet_spans_exported_total") or 0


async def eventually(ask: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not ask():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def exporting(settings: OtlpSettings) -> AsyncIterator[SpanExporter]:
    exporter = SpanExporter(settings)
    await exporter.start()
    yield exporter
    await exporter.stop()


@contextlib.asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    """A collector that answers as it is told."""
    application = web.Application()
    application.router.add_post("/v1/traces", answer)
    async with TestServer(application) as running:
        yield str(running.make_url("/v1/traces"))


@pytest.mark.parametrize("gzip", [False, True])
async def test_a_collector_gets_the_span_as_it_was_recorded(collector: Collector, gzip: bool) -> None:
    name = f"gzip {gzip}"
    resource = {"service.name": "funclet-events"}
    settings = replace(QUICK, endpoint=f"{collector.url}/v1/traces", gzip=gzip, timeout_seconds=30, resource=resource)
    before = counted()
    async with exporting(settings) as exporter:
        exporter.put(lambda: record(3, name))
        await eventually(lambda: counted() == before + 1)
    (span,) = collector.named(name, 1)
    assert (span.kind, span.trace_id, span.span_id, span.parent_id) == (Kind.CONSUMER, TRACE, f"{3:016x}", "c" * 16)
    assert (span.start_ns, span.end_ns) == (START_NS, END_NS)
    assert span.attributes == {"messaging.system": "nats", "messaging.batch.message_count": 3, "faas.coldstart": True}
    assert span.links == [(ORIGIN.trace_id, ORIGIN.span_id)]
    assert span.failed
    assert span.resource == resource


async def test_what_comes_faster_than_a_batch_goes_in_several(collector: Collector) -> None:
    settings = replace(
        QUICK, endpoint=f"{collector.url}/v1/traces", batch_size=4, timeout_seconds=30, delay_seconds=3600
    )
    async with exporting(settings) as exporter:
        for number in range(1, 11):
            exporter.put(functools.partial(record, number, "in batches"))
        # What fills no batch waits for its time; the end of the role does not.
    assert {span.span_id for span in collector.named("in batches", 10)} == {f"{n:016x}" for n in range(1, 11)}


async def test_a_full_batch_does_not_wait_for_its_time(collector: Collector) -> None:
    size = 2 * SLICE
    settings = replace(QUICK, endpoint=f"{collector.url}/v1/traces", batch_size=size, timeout_seconds=30)
    before = counted()
    async with exporting(replace(settings, delay_seconds=3600)) as exporter:
        for number in range(1, size + 1):
            exporter.put(functools.partial(record, number, "a full batch"))
        await eventually(lambda: counted() == before + size)


async def test_a_record_that_cannot_be_told_harms_no_other_one(collector: Collector) -> None:
    def fail() -> OneSpan:
        raise ValueError("as a mistake would")

    before, lost = counted(), counted("not_exported")
    settings = replace(QUICK, endpoint=f"{collector.url}/v1/traces", timeout_seconds=30, queue_size=3)
    async with exporting(settings) as exporter:
        for tell in (record, fail, record):
            exporter.put(tell)
        await eventually(lambda: counted() == before + 2)
        for _ in range(3):  # as many as there is room for
            exporter.put(record)
        await eventually(lambda: counted() == before + 5)
    assert counted("not_exported") == lost + 1


async def test_a_collector_that_is_down_costs_the_spans_and_nothing_else() -> None:
    async with server(_accept) as url:
        pass  # and nobody listens there any more
    before = counted("not_exported")
    async with exporting(replace(QUICK, endpoint=url)) as exporter:
        exporter.put(record)
        await eventually(lambda: counted("not_exported") == before + 1)


async def test_a_collector_that_hangs_fills_the_queue_and_no_more() -> None:
    asked, never = asyncio.Event(), asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        asked.set()
        await never.wait()
        return web.Response()

    full, lost = counted("queue_full"), counted("not_exported")
    async with server(hang) as url:
        exporter = SpanExporter(replace(QUICK, endpoint=url, queue_size=3, timeout_seconds=3600))
        await exporter.start()
        exporter.put(record)
        await asked.wait()
        for number in range(10):
            exporter.put(functools.partial(record, number))
        assert counted("queue_full") == full + 7
        await exporter.stop()  # which does not wait for it either
        assert counted("not_exported") == lost + 4
        never.set()


async def test_a_collector_that_is_busy_is_asked_again() -> None:
    bodies: list[bytes] = []

    async def busy_once(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response() if len(bodies) > 1 else web.Response(status=503, headers={"retry-after": "0"})

    before = counted()
    async with server(busy_once) as url, exporting(replace(QUICK, endpoint=url, timeout_seconds=30)) as exporter:
        exporter.put(record)
        await eventually(lambda: counted() == before + 1)
    assert bodies[0] == bodies[1]
    assert ExportTraceServiceRequest.FromString(bodies[0]).resource_spans[0].scope_spans[0].spans[0].name


async def test_a_collector_that_refuses_is_not_asked_again() -> None:
    asked: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        asked.append(request.headers["authorization"])
        return web.Response(status=401)

    before = counted("not_exported")
    settings = replace(QUICK, timeout_seconds=30, headers={"authorization": "Bearer x"})
    async with server(refuse) as url, exporting(replace(settings, endpoint=url)) as exporter:
        exporter.put(record)
        await eventually(lambda: counted("not_exported") == before + 1)
    assert asked == ["Bearer x"]


async def test_what_a_collector_rejects_of_a_batch_is_counted() -> None:
    async def reject_two(_: web.Request) -> web.Response:
        answer = ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = 2
        return web.Response(body=answer.SerializeToString())

    taken, rejected = counted(), counted("rejected")
    async with server(reject_two) as url:
        exporter = SpanExporter(replace(QUICK, endpoint=url, timeout_seconds=30))
        for number in range(5):
            exporter.put(functools.partial(record, number))
        await exporter.start()
        await eventually(lambda: counted("rejected") == rejected + 2)
        await exporter.stop()
    assert counted() == taken + 3


async def test_a_mistake_in_the_environment_means_no_spans(caplog: pytest.LogCaptureFixture) -> None:
    assert open_exporter("gateway", {"OTEL_EXPORTER_OTLP_ENDPOINT": "nowhere"}) is None
    (line,) = caplog.records
    assert line.__dict__["variable"] == "OTEL_EXPORTER_OTLP_ENDPOINT"
    assert open_exporter("gateway", {}) is None


def test_nothing_of_it_is_loaded_where_nothing_is_exported() -> None:
    text = (
        "import sys, funclet.local.house as house\n"
        "assert house.open_exporter('gateway', {}) is None\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google.protobuf'))])"
    )
    assert subprocess.check_output([sys.executable, "-c", text], text=True) == "[]\n"


async def _accept(_: web.Request) -> web.Response:
    return web.Response()
