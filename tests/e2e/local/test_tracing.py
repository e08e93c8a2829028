"""What Funclet records, as a real OpenTelemetry Collector gets it from `funclet local`."""

import json
from collections.abc import Iterator

import httpx
import pytest
from tests.collector.collector import Collector
from tests.e2e.conftest import Deployer, StreamMaker
from tests.e2e.traces import CONSUMER, PRODUCER, SAYING, SERVER, Caller, assert_is_tree
from tests.e2e.worlds import LocalWorld

RETRY = ("--async-retry-seconds", "0.1", "0.1")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def world(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorld]:
    """One that exports all spans, soon."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    world = LocalWorld(tmp_path_factory.mktemp("resources"), *RETRY, environment=environment)
    yield world
    world.close()


def test_the_first_call_tells_its_cold_start_and_the_second_has_none(
    world: LocalWorld, deploy: Deployer, collector: Collector
) -> None:
    function = deploy.function(SAYING)
    first, second = Caller(), Caller()
    said = json.loads(first.invoke(world, function).json()["body"].join('""'))
    cold = collector.trace(first.trace_id, 6)
    of_an_empty_pool = {"create", "start"}
    assert set(cold) - of_an_empty_pool == {f"invoke {function}", "queue", "claim", "specialise", "init", "handler"}
    assert_is_tree(cold.values(), first.span_id)
    root = cold[f"invoke {function}"]
    assert (root.kind, root.parent_id, root.failed) == (SERVER, first.span_id, False)
    assert root.resource["service.name"] == "funclet-gateway"
    assert (
        root.attributes.items()
        >= {
            "faas.name": function,
            "faas.trigger": "other",
            "faas.coldstart": True,
            "cloud.resource_id": f"arn:aws:lambda:us-east-1:000000000000:function:{function}",
            "k8s.namespace.name": "default",
        }.items()
    )
    assert f"Root=1-{first.trace_id[:8]}-{first.trace_id[8:]};Parent={cold['handler'].span_id};Sampled=1;" in said

    request_id = second.invoke(world, function).headers["x-amzn-requestid"]
    warm = collector.trace(second.trace_id, 2)
    assert set(warm) == {f"invoke {function}", "handler"}
    assert_is_tree(warm.values(), second.span_id)
    assert warm[f"invoke {function}"].attributes["faas.coldstart"] is False
    assert warm[f"invoke {function}"].attributes["faas.invocation_id"] == request_id
    assert warm["handler"].attributes["faas.instance"] == cold["handler"].attributes["faas.instance"]


def test_a_call_that_its_caller_does_not_record_is_not_recorded(
    world: LocalWorld, deploy: Deployer, collector: Collector
) -> None:
    function = deploy.function(SAYING)
    unseen, seen = Caller(sampled=False), Caller()
    assert ";Sampled=0;" in unseen.invoke(world, function).text
    seen.invoke(world, function)
    assert [call.trace_id for call in collector.named(f"invoke {function}", 1)] == [seen.trace_id]


def test_a_call_without_a_trace_begins_one(world: LocalWorld, deploy: Deployer, collector: Collector) -> None:
    function = deploy.function(SAYING)
    said = world.invoke(function).payload["body"]
    (root,) = collector.named(f"invoke {function}", 1)
    assert root.parent_id == ""
    assert said.startswith(f"Root=1-{root.trace_id[:8]}-{root.trace_id[8:]};Parent=")


def test_a_route_says_what_its_caller_got(world: LocalWorld, deploy: Deployer, collector: Collector) -> None:
    function = deploy.function(SAYING)
    path = f"/{function}/{{who}}"
    world.wait_ready("Trigger", deploy.trigger(function, http={"path": path, "methods": ["GET"]}))
    for status in ("200", "404", "503"):
        httpx.get(f"{world.url}/{function}/me", params={"status": status}, timeout=30)
    calls = collector.named(f"invoke {function}", 3)
    assert [call.attributes["http.response.status_code"] for call in calls] == [200, 404, 503]
    assert [call.failed for call in calls] == [False, False, True]
    assert calls[2].attributes["error.type"] == "503"
    for call in calls:
        expected = {"faas.trigger": "http", "http.route": path, "http.request.method": "GET"}
        assert call.attributes.items() >= expected.items()


def test_a_failure_tells_its_type_and_nothing_of_its_text(
    world: LocalWorld, deploy: Deployer, collector: Collector
) -> None:
    function = deploy.function(SAYING)
    caller = Caller()
    caller.invoke(world, function, {"fail": True})
    spans = collector.trace(caller.trace_id, 6)
    for name in (f"invoke {function}", "handler"):
        assert spans[name].failed
        assert spans[name].attributes["error.type"] == "KeyError"
    assert "secret" not in str(spans)


def test_a_refused_call_tells_why(world: LocalWorld, deploy: Deployer, collector: Collector) -> None:
    function = deploy.function(SAYING, reservedConcurrentExecutions=0)
    caller = Caller()
    assert caller.invoke(world, function).status_code == 429
    ((name, root),) = collector.trace(caller.trace_id, 1).items()
    assert name == f"invoke {function}"
    assert root.failed
    assert root.attributes["error.type"] == "TooManyRequestsException"


def test_the_attempts_of_an_event_come_below_its_acceptance(
    world: LocalWorld, deploy: Deployer, collector: Collector
) -> None:
    function = deploy.function(SAYING, eventInvokeConfig={"maximumRetryAttempts": 1})
    caller = Caller()
    accepted = caller.invoke(world, function, {"fail": True}, **{"x-amz-invocation-type": "Event"})
    request_id = accepted.headers["x-amzn-requestid"]
    subject = f"funclet.events.default.{function}"
    attempts = collector.named(f"process {subject}", 2)
    (publish,) = collector.named(f"publish {subject}", 1)
    calls = collector.named(f"invoke {function}", 2)
    assert (publish.kind, publish.trace_id, publish.parent_id) == (PRODUCER, caller.trace_id, caller.span_id)
    assert publish.attributes["messaging.message.id"] == request_id
    for number, (attempt, call) in enumerate(zip(attempts, calls, strict=True), 1):
        assert (attempt.kind, attempt.trace_id, attempt.parent_id) == (CONSUMER, caller.trace_id, publish.span_id)
        assert attempt.resource["service.name"] == "funclet-events"
        assert attempt.attributes.items() >= {"funclet.attempt": number, "error.type": "KeyError"}.items()
        assert (call.parent_id, call.attributes["faas.invocation_id"]) == (attempt.span_id, request_id)
        assert attempt.start_ns <= call.start_ns <= call.end_ns <= attempt.end_ns  # one machine, one clock


def test_a_batch_has_a_link_to_where_each_message_comes_from(
    world: LocalWorld, deploy: Deployer, collector: Collector, queues: StreamMaker
) -> None:
    stream = queues.new()
    senders = [Caller(), Caller()]
    for sender in senders:
        queues.publish(f"{stream}.new", [1], sender.headers)
    queues.publish(f"{stream}.new", [1])
    function = deploy.function(SAYING)
    deploy.trigger(function, jetstream={"stream": stream, "subject": f"{stream}.>", "batchSize": 10})
    (batch,) = collector.named(f"process {stream}.>", 1)
    assert (batch.kind, batch.parent_id) == (CONSUMER, "")
    assert batch.links == [(sender.trace_id, sender.span_id) for sender in senders]
    assert batch.attributes["messaging.batch.message_count"] == 3
    spans = collector.trace(batch.trace_id, 3)
    assert_is_tree(spans.values(), "")
    call = spans[f"invoke {function}"]
    assert (call.parent_id, call.attributes["faas.trigger"]) == (batch.span_id, "pubsub")
