"""Asynchronous invocations at the gateway: what is answered, and what lies in a real JetStream then."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from nats.aio.client import Client
from tests.adapters.gateway_world import World, make_revision, running, until
from tests.ports import free_port

from funclet.adapters.event_store import EventStore
from funclet.adapters.event_streams import EVENTS, StreamPolicy, list_waiting, make_streams
from funclet.adapters.jetstream import connect
from funclet.adapters.nats_server import NatsServer
from funclet.core.asynchronous import EVENT_LIMIT_BYTES, Event, Finish, Progress, Ran
from funclet.core.invocation_record import iso_milliseconds
from funclet.core.trace import LINEAGE_LIMIT, lineage_token

KEY = "default/hello"
REQUEST = "e4b46cbf-b738-4c0e-8880-a18cdf61200e"
CONTEXT = base64.b64encode(b'{"custom": {"a": "b"}}').decode()


@pytest.fixture
async def world(server: NatsServer, client: Client) -> AsyncIterator[World]:
    async with running(nats_url=server.url) as world:
        world.catalog.put(make_revision())
        await until_accepting(world)
        await client.jetstream().purge_stream(EVENTS)
        yield world


async def until_accepting(world: World) -> None:
    async with asyncio.timeout(60):
        while (await world.invoke({}, x_amz_invocation_type="Event")).status_code != 202:
            await asyncio.sleep(0.01)


async def test_an_accepted_event_is_in_the_stream(world: World, client: Client) -> None:
    answer = await world.invoke(
        {"a": 1},
        x_amz_invocation_type="Event",
        x_amz_client_context=CONTEXT,
        x_amzn_trace_id="Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
    )
    assert (answer.status_code, answer.content) == (202, b"")
    message = await client.jetstream().get_last_msg(EVENTS, "funclet.events.default.hello")
    assert json.loads(message.data or b"") == {"a": 1}
    assert message.headers == {
        "Funclet-Request-Id": answer.headers["x-amzn-requestid"],
        "Funclet-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
        "Funclet-Client-Context": CONTEXT,
    }


async def test_many_at_once_are_all_stored(world: World, client: Client) -> None:
    answers = await asyncio.gather(*(world.invoke({"n": n}, x_amz_invocation_type="Event") for n in range(500)))
    assert {answer.status_code for answer in answers} == {202}
    assert await list_waiting(client) == {KEY: 500}


async def test_an_empty_payload_is_an_empty_event(world: World, client: Client) -> None:
    assert (await world.invoke(x_amz_invocation_type="Event")).status_code == 202
    assert (await client.jetstream().get_last_msg(EVENTS, "funclet.events.default.hello")).data == b"{}"


async def test_invoke_async_is_the_same_by_its_old_name(world: World, client: Client) -> None:
    for prefix, end in (("", "/"), ("/namespaces/default", "")):
        answer = await world.http.post(f"{prefix}/2014-11-13/functions/hello/invoke-async{end}", content=b"[1]")
        assert (answer.status_code, answer.content) == (202, b"")
    assert await list_waiting(client) == {KEY: 2}


@pytest.mark.parametrize(
    ("body", "headers", "status", "error"),
    [
        (b"{", {}, 400, "InvalidRequestContentException"),
        (b'"' + b"x" * EVENT_LIMIT_BYTES + b'"', {}, 413, "RequestTooLargeException"),
        (b"{}", {"x-amz-client-context": "{"}, 400, "InvalidRequestContentException"),
        (b"{}", {"x-amz-invocation-type": "Later"}, 400, "InvalidParameterValueException"),
    ],
)
async def test_what_is_refused_is_not_stored(
    world: World, client: Client, body: bytes, headers: dict[str, str], status: int, error: str
) -> None:
    answer = await world.http.post(
        "/2015-03-31/functions/hello/invocations", content=body, headers={"x-amz-invocation-type": "Event", **headers}
    )
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (status, error)
    assert await list_waiting(client) == {}


async def test_the_largest_event_is_accepted(world: World) -> None:
    body = b'"' + b"x" * (EVENT_LIMIT_BYTES - 2) + b'"'
    answer = await world.http.post(
        "/2015-03-31/functions/hello/invocations", content=body, headers={"x-amz-invocation-type": "Event"}
    )
    assert answer.status_code == 202


async def test_a_function_that_is_not_there_gets_no_events(world: World, client: Client) -> None:
    answer = await world.invoke({}, function="nobody", x_amz_invocation_type="Event")
    assert answer.status_code == 404
    assert await list_waiting(client) == {}


async def test_without_jetstream_events_are_refused_and_calls_go_on(world: World, server: NatsServer) -> None:
    world.announce(await world.slot())
    await server.stop()
    refused = await world.invoke({}, x_amz_invocation_type="Event")
    assert refused.status_code == 503
    assert refused.headers["x-amzn-errortype"] == "ServiceException"
    assert refused.headers["retry-after"] == "1"
    assert (await world.invoke({"a": 1})).json() == {"a": 1}
    assert (await world.http.get(f"/2015-03-31/functions/hello/invocations/{REQUEST}")).status_code == 503
    await server.start()
    await until_accepting(world)


async def test_a_gateway_that_starts_without_jetstream_serves_calls(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, free_port())
    await server.start()
    await server.stop()
    async with running(nats_url=server.url) as world:
        world.catalog.put(make_revision())
        world.announce(await world.slot())
        assert (await world.invoke({"a": 1})).json() == {"a": 1}
        assert (await world.invoke({}, x_amz_invocation_type="Event")).status_code == 503
        await server.start()
        client = await connect(server.url)
        await make_streams(client, StreamPolicy())
        await until_accepting(world)
        await client.close()
    await server.stop()


async def test_events_without_a_setting_for_jetstream_are_refused() -> None:
    async with running() as world:
        world.catalog.put(make_revision())
        answer = await world.invoke({}, x_amz_invocation_type="Event")
        assert answer.status_code == 503
        assert "FUNCLET_NATS_URL" in answer.json()["Message"]


async def test_a_result_is_found_by_its_request_id(world: World, client: Client) -> None:
    path = f"/2015-03-31/functions/hello/invocations/{REQUEST}"
    missing = await world.http.get(path)
    assert (missing.status_code, missing.headers["x-amzn-errortype"]) == (404, "ResourceNotFoundException")
    store = EventStore(client)
    moment = datetime.now(UTC).replace(microsecond=0)  # which is the same as a float, and in milliseconds
    finish = Finish("Success", Progress(1, 0, Ran(b'{"b": 2}')))
    await store.record(Event(REQUEST, KEY, b"{}", int(moment.timestamp() * 1000)), finish, moment)
    found = await world.http.get(path)
    assert found.status_code == 200
    assert found.json() == {
        "requestId": REQUEST,
        "functionName": "hello",
        "status": "Succeeded",
        "condition": "Success",
        "attempts": 1,
        "acceptedAt": iso_milliseconds(moment),
        "updatedAt": iso_milliseconds(moment),
        "responsePayload": {"b": 2},
    }
    assert (await world.http.post(path)).status_code == 404


async def test_only_the_events_role_names_its_invocations(world: World) -> None:
    slot = await world.slot()
    world.announce(slot)
    named = {"x_funclet_request_id": REQUEST}
    trusted = await world.invoke({}, authorization="Bearer internal", **named)
    assert trusted.headers["x-amzn-requestid"] == named["x_funclet_request_id"]
    assert slot.received[-1]["lambda-runtime-aws-request-id"] == named["x_funclet_request_id"]
    other = await world.invoke({}, **named)
    assert other.headers["x-amzn-requestid"] != named["x_funclet_request_id"]


async def test_the_trace_header_tells_the_function_of_itself() -> None:
    async with running() as world:
        world.catalog.put(make_revision())
        slot = await world.slot()
        world.announce(slot)
        token = lineage_token(KEY)
        await world.invoke({})
        assert slot.received[-1]["lambda-runtime-trace-id"].endswith(f";Sampled=0;Lineage={token}:1")
        await world.invoke({}, x_amzn_trace_id=slot.received[-1]["lambda-runtime-trace-id"])
        assert slot.received[-1]["lambda-runtime-trace-id"].endswith(f";Sampled=0;Lineage={token}:2")
        await world.invoke({}, traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        assert slot.received[-1]["lambda-runtime-trace-id"] == (
            f"Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1;Lineage={token}:1"
        )


@pytest.mark.parametrize(("allowed", "last"), [(False, 400), (True, 200)])
async def test_a_loop_ends_after_sixteen_invocations_unless_it_may_go_on(allowed: bool, last: int) -> None:
    async with running() as world:
        world.catalog.put(make_revision(recursion_allowed=allowed))
        slot = await world.slot()
        world.announce(slot)
        statuses, trace = [], "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
        for _ in range(LINEAGE_LIMIT + 1):
            answer = await world.invoke({}, x_amzn_trace_id=trace)
            statuses.append(answer.status_code)
            trace = slot.received[-1]["lambda-runtime-trace-id"]
        assert statuses == [200] * LINEAGE_LIMIT + [last]
        if not allowed:
            assert answer.headers["x-amzn-errortype"] == "RecursiveInvocationException"
        await until(lambda: slot.running == 0)
