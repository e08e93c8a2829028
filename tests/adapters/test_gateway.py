"""The gateway between real sockets: the Lambda API, queueing, feed and demand, and what happens when something dies."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.adapters.gateway_world import World, make_revision, running, until

from funclet.core.messages import DemandReport, Draining, Gone, Refused
from funclet.gateway import demand


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as world:
        world.catalog.put(make_revision())
        yield world


@pytest.fixture
def client(world: World) -> Iterator[Any]:
    client = boto3.client(
        "lambda", endpoint_url=world.url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b",
        config=Config(retries={"max_attempts": 0}),
    )  # fmt: skip
    yield client
    client.close()


async def test_boto3_invokes(world: World, client: Any) -> None:
    async def greet(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        text = json.dumps("Hello, " + json.loads(body)["name"]).encode()
        return {"x-amz-log-result": base64.b64encode(b"START").decode(), "x-funclet-init-us": "2000"}, text

    slot = await world.slot(greet)
    world.announce(slot)
    context = base64.b64encode(json.dumps({"custom": {"a": "ü\n"}}).encode()).decode()
    answer = await asyncio.to_thread(
        client.invoke, FunctionName="hello", Payload=b'{"name": "World"}', LogType="Tail", ClientContext=context
    )
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in answer
    assert base64.b64decode(answer["LogResult"]) == b"START"
    assert json.loads(answer["Payload"].read()) == "Hello, World"
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-funclet-billed-ms"] == "4"
    assert headers["x-funclet-cold-start"] == "true"
    assert answer["ResponseMetadata"]["RequestId"] == slot.received[0]["lambda-runtime-aws-request-id"]
    assert json.loads(slot.received[0]["lambda-runtime-client-context"]) == {"custom": {"a": "ü\n"}}
    assert slot.received[0]["x-amz-log-type"] == "Tail"


async def test_boto3_reads_the_errors(world: World, client: Any) -> None:
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="Function not found: arn:aws:lambda"):
        await asyncio.to_thread(client.invoke, FunctionName="nobody")
    world.catalog.pending.add("default/new")
    with pytest.raises(client.exceptions.ResourceConflictException, match="in the following state: Pending"):
        await asyncio.to_thread(client.invoke, FunctionName="new")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match=":hello:7"):
        await asyncio.to_thread(client.invoke, FunctionName="hello", Qualifier="7")
    with pytest.raises(
        client.exceptions.InvalidRequestContentException, match="Could not parse request body into json"
    ):
        await asyncio.to_thread(client.invoke, FunctionName="hello", Payload=b"{nonsense")
    with pytest.raises(client.exceptions.ServiceException, match="FUNCLET_NATS_URL is not set"):
        await asyncio.to_thread(client.invoke, FunctionName="hello", InvocationType="Event")
    with pytest.raises(ClientError, match="UnknownOperationException"):
        await asyncio.to_thread(client.get_function, FunctionName="hello")
    world.catalog.put(make_revision("full", reserved=0))
    with pytest.raises(client.exceptions.TooManyRequestsException) as throttled:
        await asyncio.to_thread(client.invoke, FunctionName="full")
    assert throttled.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    answer = await asyncio.to_thread(client.invoke, FunctionName="hello", InvocationType="DryRun")
    assert answer["StatusCode"] == 204


@pytest.mark.parametrize(
    "name",
    [
        "hello",
        "hello:$LATEST",
        "hello%3A%24LATEST",
        "000000000000:function:hello",
        "arn:aws:lambda:us-east-1:000000000000:function:hello",
        "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Ahello:$LATEST",
    ],
)
async def test_every_form_of_a_name(world: World, name: str) -> None:
    world.announce(await world.slot())
    assert (await world.invoke({"a": 1}, function=name)).json() == {"a": 1}
    prefixed = await world.http.post(f"/namespaces/default/2015-03-31/functions/{name}/invocations", content=b"2")
    assert prefixed.json() == 2
    assert (await world.http.post(f"/namespaces/other/2015-03-31/functions/{name}/invocations")).status_code == 404


async def test_latest_by_its_name_is_read_the_short_way_and_told_to_the_instance(world: World) -> None:
    slot = await world.slot()
    world.announce(slot)
    arn = "arn:aws:lambda:us-east-1:000000000000:function:hello:$LATEST"
    for url in (
        b"/2015-03-31/functions/hello:$LATEST/invocations",
        b"/2015-03-31/functions/hello/invocations?Qualifier=$LATEST",
    ):
        head = b"POST " + url + b" HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n"
        line = f"lambda-runtime-invoked-function-arn: {arn}\r\n"
        assert world.gateway._lambda.find_plain(url) == ("default/hello", line)
        reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
        writer.write(head + b"7")
        assert b"x-amz-executed-version: $latest" in (await reader.readuntil(b"\r\n\r\n")).lower()
        writer.close()
        assert slot.received.pop()["lambda-runtime-invoked-function-arn"] == arn


async def test_an_empty_payload_is_an_empty_event(world: World) -> None:
    world.announce(await world.slot())
    assert (await world.invoke()).json() == {}


async def test_from_zero_the_scaler_hears_at_once_and_the_call_waits_for_the_instance(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for periodic in ("CHANGE_GAP_SECONDS", "LIFE_SIGN_SECONDS"):  # no later report may take the place of the first
        monkeypatch.setattr(demand, periodic, 3600)
    slot = await world.slot()

    async def scale(report: DemandReport) -> None:
        demand = report.functions.get("default/hello")
        if demand is not None and demand.queued and not world.scaler.instances:
            await asyncio.sleep(0.05)  # so that there is a time to tell, by a clock of whole milliseconds
            world.announce(slot)

    world.scaler.on_demand = scale
    answer = await world.invoke(5)
    assert answer.json() == 5
    assert float(answer.headers["x-funclet-queue-ms"]) > 0


async def test_one_slot_runs_one_invocation_at_a_time(world: World) -> None:
    async def slow(_: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        await asyncio.sleep(0.03)
        return {}, body

    slot = await world.slot(slow)
    world.announce(slot)
    answers = await asyncio.gather(*(world.invoke(n) for n in range(5)))
    assert [answer.json() for answer in answers] == list(range(5))
    assert slot.most_running == 1
    await until(lambda: world.scaler.reports[-1].functions == {} and len(world.scaler.reports) > 2)
    last = next(r for r in reversed(world.scaler.reports) if "default/hello" in r.functions).functions["default/hello"]
    assert (last.queued, last.in_flight, last.instances["i1"].busy) == (0, 0, 0)
    assert last.service_ms is not None
    assert last.service_ms >= 20  # the loop's clock has whole milliseconds: a sleep may seem to be one shorter


async def test_a_new_revision_gets_new_calls_and_the_old_instance_drains(world: World) -> None:
    release = asyncio.Event()

    async def held(_: dict[str, str], __: bytes) -> tuple[dict[str, str], bytes]:
        await release.wait()
        return {}, b'"old"'

    async def new(_: dict[str, str], __: bytes) -> tuple[dict[str, str], bytes]:
        return {}, b'"new"'

    old = await world.slot(held)
    name = world.announce(old)
    first = asyncio.create_task(world.invoke())
    await until(lambda: old.running == 1)
    world.catalog.put(make_revision(revision="r2"))
    second = asyncio.create_task(world.invoke())
    world.scaler.say(Draining(instance=name))
    world.announce(await world.slot(new), revision="r2")
    assert (await second).json() == "new"
    assert not any(report.drained for report in world.scaler.reports)
    release.set()
    assert (await first).json() == "old"
    await until(lambda: any(report.drained == [name] for report in world.scaler.reports))


async def test_an_instance_that_dies_with_a_call_is_a_function_error(world: World) -> None:
    async def die(_: dict[str, str], __: bytes) -> tuple[dict[str, str], bytes]:
        raise ConnectionResetError

    world.announce(await world.slot(die))
    answer = await world.invoke()
    assert answer.status_code == 200
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    assert answer.json()["errorType"] == "Runtime.ExitError"
    assert int(answer.headers["x-funclet-billed-ms"]) >= 1


async def test_gone_fails_what_runs_there(world: World) -> None:
    async def never(_: dict[str, str], __: bytes) -> tuple[dict[str, str], bytes]:
        await asyncio.sleep(60)
        return {}, b""

    slot = await world.slot(never)
    name = world.announce(slot)
    call = asyncio.create_task(world.invoke())
    await until(lambda: slot.running == 1)
    world.scaler.say(Gone(instance=name))
    assert (await call).json()["errorType"] == "Runtime.ExitError"


async def test_a_refused_connection_is_tried_elsewhere(world: World) -> None:
    good, dead = await world.slot(), await world.slot()
    world.announce(good)
    await dead.stop()
    world.announce(dead)
    for number in range(5):
        assert (await world.invoke(number)).json() == number
    assert len(good.received) == 5


async def test_a_call_waits_when_the_only_instance_refuses(world: World) -> None:
    dead = await world.slot()
    await dead.stop()
    world.announce(dead)
    call = asyncio.create_task(world.invoke(1))
    await until(
        lambda: any(r.functions.get("default/hello", r).model_dump().get("queued") for r in world.scaler.reports)
    )
    world.announce(await world.slot())
    assert (await call).json() == 1


async def test_refused_and_deleted_functions_answer_their_waiters(world: World) -> None:
    call = asyncio.create_task(world.invoke())
    await until(lambda: world.queued(1))
    world.scaler.say(Refused(function="default/hello", revision="r1", reason="NoRuntime", message="no image"))
    refused = await call
    assert refused.status_code == 503
    assert "NoRuntime: no image" in refused.json()["Message"]
    assert refused.headers["retry-after"] == "1"
    await until(lambda: world.queued(0))
    call = asyncio.create_task(world.invoke())
    await until(lambda: world.queued(1))
    world.catalog.delete("default/hello")
    assert (await call).status_code == 404


async def test_a_full_queue_and_a_long_wait_are_503() -> None:
    async with running(queue_limit=1, queue_timeout_seconds=1) as world:
        world.catalog.put(make_revision())
        waiting = asyncio.create_task(world.invoke())
        await until(lambda: world.was_queued(1))
        full = await world.invoke()
        trusted = asyncio.create_task(world.invoke(authorization="Bearer internal"))
        assert (full.status_code, full.headers["retry-after"]) == (503, "1")
        assert (await waiting).status_code == 503
        assert "in time" in (await trusted).json()["Message"]


async def test_a_caller_that_goes_away_leaves_the_queue(world: World) -> None:
    call = asyncio.create_task(world.invoke())
    await until(lambda: world.queued(1))
    call.cancel()
    await until(lambda: world.queued(0))
    slot = await world.slot()
    world.announce(slot)
    assert (await world.invoke(1)).json() == 1
    assert len(slot.received) == 1


async def test_warm_functions_go_on_while_the_scaler_is_away(world: World) -> None:
    slot = await world.slot()
    world.announce(slot)
    assert (await world.invoke(1)).json() == 1
    await world.scaler.stop()
    assert (await world.invoke(2)).json() == 2
    await world.scaler.start()
    await until(lambda: bool(world.scaler.readers))
    before = len(world.scaler.reports)
    assert (await world.invoke(3)).json() == 3
    await until(lambda: any("default/hello" in report.functions for report in world.scaler.reports[before:]))
