"""Asynchronous invocation as boto3 sees it: accepted, run, tried again, recorded, and its result asked for."""

import json
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from tests.e2e.conftest import Deployer, StreamMaker
from tests.e2e.queues import WITNESS
from tests.e2e.worlds import PATIENCE_SECONDS, World, eventually

ECHO = "def handler(event, context): return {'id': context.aws_request_id, 'event': event}"
FAILING = "def handler(event, context): raise ValueError('no luck')"


def send(world: World, function: str, payload: Any = None, **more: Any) -> str:
    """Invoke asynchronously; returns the request id."""
    answer = world.client.invoke(
        FunctionName=function, InvocationType="Event", Payload=json.dumps(payload or {}), **more
    )
    assert answer["StatusCode"] == 202
    assert answer["Payload"].read() == b""
    request_id: str = answer["ResponseMetadata"]["RequestId"]
    return request_id


def find_result(world: World, function: str, request_id: str) -> dict[str, Any] | None:
    """What is known of an asynchronous invocation."""
    answer = httpx.get(f"{world.endpoint}/2015-03-31/functions/{function}/invocations/{request_id}", timeout=60)
    if answer.status_code == 404:
        return None
    document: dict[str, Any] = answer.raise_for_status().json()
    return document


def wait_for(world: World, function: str, request_id: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
    """The result, once it is final."""

    def final() -> dict[str, Any] | None:
        document = find_result(world, function, request_id)
        return document if document and document["status"] != "Retrying" else None

    return eventually(final, seconds)


def test_an_event_is_accepted_at_zero_and_runs_under_its_own_id(world: World, deploy: Deployer) -> None:
    function = deploy.function(ECHO)
    request_id = send(world, function, {"a": 1})
    result = wait_for(world, function, request_id)
    assert (result["status"], result["condition"], result["attempts"]) == ("Succeeded", "Success", 1)
    assert result["responsePayload"] == {"id": request_id, "event": {"a": 1}}


def test_invoke_async_works_too(world: World, deploy: Deployer, queues: StreamMaker) -> None:
    seen = queues.new()
    function = deploy.function(
        WITNESS + "\ndef handler(event, context): tell([f\"{os.environ['SEEN']}.{event['n']}\"])",
        environment={"variables": {"NATS_URL": world.nats_url_of_functions, "SEEN": seen}},
    )
    assert world.client.invoke_async(FunctionName=function, InvokeArgs=b'{"n": 5}')["Status"] == 202
    eventually(lambda: queues.seen(seen) == {f"{seen}.5": 1})


def test_a_failing_event_is_tried_three_times_and_its_record_reaches_a_function(
    world: World, deploy: Deployer, queues: StreamMaker
) -> None:
    seen = queues.new()
    keeper = deploy.function(
        WITNESS
        + """
def handler(event, context):
    context_ = event["requestContext"]
    tell([f"{os.environ['SEEN']}.{context_['condition']}.{context_['approximateInvokeCount']}.{context_['requestId']}"])
""",
        environment={"variables": {"NATS_URL": world.nats_url_of_functions, "SEEN": seen}},
    )
    function = deploy.function(FAILING, eventInvokeConfig={"destinationConfig": {"onFailure": {"function": keeper}}})
    request_id = send(world, function)
    result = wait_for(world, function, request_id)
    assert (result["status"], result["condition"], result["attempts"]) == ("Failed", "RetriesExhausted", 3)
    assert result["functionError"] == "Unhandled"
    assert result["responsePayload"]["errorMessage"] == "no luck"
    eventually(lambda: queues.seen(seen) == {f"{seen}.RetriesExhausted.3.{request_id}": 1})


def test_a_success_is_told_to_a_subject(world: World, deploy: Deployer, queues: StreamMaker) -> None:
    seen = queues.new()
    function = deploy.function(
        ECHO, eventInvokeConfig={"destinationConfig": {"onSuccess": {"subject": f"{seen}.done"}}}
    )
    send(world, function)
    eventually(lambda: queues.seen(seen) == {f"{seen}.done": 1})


def test_events_of_a_stopped_function_are_given_up(world: World, deploy: Deployer) -> None:
    function = deploy.function(ECHO, reservedConcurrentExecutions=0)
    result = wait_for(world, function, send(world, function))
    assert (result["status"], result["condition"], result["attempts"]) == ("Failed", "ZeroReservedConcurrency", 0)


def test_a_burst_is_run_by_several_instances_each_event_once(
    world: World, deploy: Deployer, queues: StreamMaker
) -> None:
    seen = queues.new()
    function = deploy.function(
        WITNESS
        + """
import time
def handler(event, context):
    time.sleep(0.1)
    tell([f"{os.environ['SEEN']}.{event['n']}"])
""",
        environment={"variables": {"NATS_URL": world.nats_url_of_functions, "SEEN": seen}},
        scaling={"maxInstances": 3, "idleTimeoutSeconds": 5},
    )
    for number in range(100):
        send(world, function, {"n": number})
    eventually(lambda: len(queues.seen(seen)) == 100)
    assert queues.seen(seen) == {f"{seen}.{number}": 1 for number in range(100)}


@pytest.mark.parametrize(
    ("payload", "error"),
    [(b"{", "InvalidRequestContentException"), (b'"%s"' % (b"x" * 1024 * 1024), "RequestTooLargeException")],
)
def test_what_is_refused(world: World, deploy: Deployer, payload: bytes, error: str) -> None:
    function = deploy.function(ECHO)
    with pytest.raises(ClientError) as caught:
        world.client.invoke(FunctionName=function, InvocationType="Event", Payload=payload)
    assert caught.value.response["Error"]["Code"] == error


LOOP = """
import json, os, urllib.request

def handler(event, context):
    request = urllib.request.Request(
        event["url"], json.dumps(event).encode(),
        {"X-Amzn-Trace-Id": os.environ["_X_AMZN_TRACE_ID"], "X-Amz-Invocation-Type": "Event"},
    )
    urllib.request.urlopen(request).close()
"""
"""What the AWS SDKs do with the trace header, without one."""


def test_a_function_that_invokes_itself_is_stopped(world: World, deploy: Deployer) -> None:
    function = deploy.function(LOOP)
    url = f"{world.url_of_functions}/namespaces/{world.namespace}/2015-03-31/functions/{function}/invocations"
    send(world, function, {"url": url})
    labels = {"namespace": world.namespace, "function": function}
    eventually(lambda: world.metric("funclet_recursive_invocations_total", action="terminated", **labels) == 1)
    eventually(
        lambda: world.metric("funclet_invocations_total", outcome="ok", **labels) == 16
    )  # the last has to return
