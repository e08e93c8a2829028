"""Spans of gateways and events in a cluster: exported by the chart's values to a Collector outside of it."""

import socket
from collections.abc import Iterator

import pytest
from tests.collector.collector import Collector
from tests.e2e.conftest import Deployer
from tests.e2e.kills import wait_for
from tests.e2e.traces import CONSUMER, PRODUCER, SAYING, SERVER, Caller, assert_is_tree
from tests.e2e.worlds import CHART, RELEASE_NAMESPACE, ClusterWorld

GATEWAY = "app.kubernetes.io/component=gateway"


def own_address(world: ClusterWorld) -> str:
    """This process's address as the pods see it: that from which it reaches one of theirs."""
    (pod, *_) = world.objects("pods", RELEASE_NAMESPACE, GATEWAY)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        route.connect((pod["status"]["podIP"], 1))  # sends nothing
        address: str = route.getsockname()[0]
        return address


def export_to(world: ClusterWorld, endpoint: str) -> None:
    """Change this one value of the release; returns when the roles have it."""
    chosen = ("--reuse-values", "--set", f"tracing.otlp.endpoint={endpoint}")
    done = world.helm("upgrade", "funclet", CHART, "--namespace", RELEASE_NAMESPACE, *chosen)
    assert done.returncode == 0, done.stderr
    for role in ("gateway", "events"):
        wait_for(world, role)


@pytest.fixture(scope="module")
def collector(world: ClusterWorld) -> Iterator[Collector]:
    collector = Collector(own_address(world))
    try:
        export_to(world, collector.url)
        yield collector
    finally:
        export_to(world, "")
        collector.close()


def test_a_call_and_an_event_are_below_their_callers_spans(
    world: ClusterWorld, deploy: Deployer, collector: Collector
) -> None:
    function = deploy.function(SAYING, eventInvokeConfig={"maximumRetryAttempts": 1})
    caller = Caller()
    said = caller.invoke(world, function).json()["body"]
    cold = collector.trace(caller.trace_id, 6)
    always = {f"invoke {function}", "queue", "specialise", "init", "handler"}
    assert always < set(cold) <= always | {"claim", "create", "start"}
    assert_is_tree(cold.values(), caller.span_id)
    root = cold[f"invoke {function}"]
    assert (root.kind, root.parent_id, root.resource["service.name"]) == (SERVER, caller.span_id, "funclet-gateway")
    assert root.attributes.items() >= {"k8s.namespace.name": world.namespace, "faas.coldstart": True}.items()
    assert cold["specialise"].parent_id == cold["queue"].span_id
    assert f"Parent={cold['handler'].span_id};Sampled=1" in said
    pods = world.objects("pods", world.namespace, f"funclet.dev/function={function}")
    assert cold["handler"].attributes["faas.instance"] in [pod["metadata"]["name"] for pod in pods]

    sender = Caller()
    sender.invoke(world, function, {"fail": True}, **{"x-amz-invocation-type": "Event"})
    subject = f"funclet.events.{world.namespace}.{function}"
    (publish,) = collector.named(f"publish {subject}", 1)
    attempts = collector.named(f"process {subject}", 2)
    assert (publish.kind, publish.trace_id, publish.parent_id) == (PRODUCER, sender.trace_id, sender.span_id)
    calls = collector.find(lambda span: span.trace_id == sender.trace_id and span.kind == SERVER, 2)
    for number, (attempt, call) in enumerate(zip(attempts, calls, strict=True), 1):
        assert (attempt.kind, attempt.trace_id, attempt.parent_id) == (CONSUMER, sender.trace_id, publish.span_id)
        assert attempt.attributes.items() >= {"funclet.attempt": number, "error.type": "KeyError"}.items()
        assert (attempt.resource["service.name"], call.parent_id) == ("funclet-events", attempt.span_id)
