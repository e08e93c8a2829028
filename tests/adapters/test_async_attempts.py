"""One event at a time, with a clock of the test's own: what is recorded, who is told, and that nothing runs twice."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from nats.aio.client import Client
from nats.js.api import StreamConfig
from prometheus_client import REGISTRY
from tests.adapters.gateway_world import make_revision
from tests.adapters.lambda_server import LambdaServer, fail, succeed

from funclet.adapters.destinations import Destinations
from funclet.adapters.event_store import EventStore
from funclet.adapters.event_streams import DEAD_LETTERS, EVENTS, StreamPolicy, find_result, make_streams
from funclet.adapters.gateway_client import GatewayClient
from funclet.adapters.jetstream import connect
from funclet.adapters.metrics import forget_events
from funclet.adapters.nats_server import NatsServer
from funclet.api.event_invoke import DeadLetterConfig, EventInvokeConfig
from funclet.core.qualifiers import AliasRoute
from funclet.core.revision import Revision
from funclet.core.sqs_event import Message
from funclet.events.attempt import EventRunner, Outcome

REQUEST = "e4b46cbf-b738-4c0e-8880-a18cdf61200e"
START = datetime(2026, 1, 1, tzinfo=UTC)
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"


async def throttle(_: dict[str, Any]) -> web.Response:
    return web.json_response({}, status=429, headers={"retry-after": "1"})


async def stop_loop(_: dict[str, Any]) -> web.Response:
    return web.json_response({}, status=400, headers={"x-amzn-errortype": "RecursiveInvocationException"})


@dataclass
class House:
    """A runner of events between a gateway that the test writes and a real JetStream."""

    lambdas: LambdaServer
    client: Client
    store: EventStore
    now: datetime = START
    functions: dict[str, Revision] = field(default_factory=dict)
    aliases: dict[str, AliasRoute] = field(default_factory=dict)
    receives: int = 0

    def __post_init__(self) -> None:
        destinations = Destinations(self.store, self.functions, self.aliases, "us-east-1")
        gateway = GatewayClient(self.lambdas.url, "t")
        self.close = gateway.close
        self.runner = EventRunner(
            self.functions,
            gateway,
            self.store,
            destinations,
            "us-east-1",
            (60, 120),
            lambda: self.now,
            aliases=self.aliases,
        )

    def apply(self, dead_letter: dict[str, str] | None = None, reserved: int | None = None, **config: Any) -> None:
        self.functions["default/hello"] = make_revision(
            reserved=reserved,
            event_invoke=EventInvokeConfig.model_validate(config),
            dead_letter=DeadLetterConfig.model_validate({"target": dead_letter}) if dead_letter else None,
        )

    async def deliver(self, after_seconds: float = 0, headers: dict[str, str] | None = None) -> Outcome:
        """The same event once more, so long after the last delivery."""
        self.now += timedelta(seconds=after_seconds)
        self.receives += 1
        headers = {"Funclet-Request-Id": REQUEST, "Funclet-Trace-Id": TRACE, **(headers or {})}
        accepted_ms, subject = int(START.timestamp() * 1000), "funclet.events.default.hello"
        return await self.runner.run(
            Message(EVENTS, subject, 1, b'{"a": 1}', self.receives, accepted_ms, 0, "", headers)
        )

    async def result(self) -> dict[str, Any] | None:
        return await find_result(self.client.jetstream(), "default/hello", REQUEST)

    async def messages(self, stream: str) -> list[Any]:
        """All messages of a stream."""
        jetstream = self.client.jetstream()
        state = (await jetstream.stream_info(stream)).state
        return [await jetstream.get_msg(stream, n) for n in range(state.first_seq, state.last_seq + 1)]

    async def records(self) -> list[dict[str, Any]]:
        return [json.loads(message.data) for message in await self.messages("OUT")]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    server = NatsServer(tmp_path)
    await server.start()
    client = await connect(server.url)
    await make_streams(client, StreamPolicy())
    await client.jetstream().add_stream(StreamConfig(name="OUT", subjects=["out.>"]))
    async with LambdaServer() as lambdas:
        house = House(lambdas, client, EventStore(client))
        house.apply()
        yield house
        await house.close()
    await client.close()
    await server.stop()


async def test_a_success_is_recorded_and_done(house: House) -> None:
    assert await house.deliver() == Outcome()
    result = await house.result()
    assert result is not None
    assert (result["status"], result["condition"], result["attempts"]) == ("Succeeded", "Success", 1)
    assert house.lambdas.events == [{"a": 1}]


async def test_the_function_is_invoked_under_the_events_own_id_and_trace(house: House) -> None:
    await house.deliver(headers={"Funclet-Client-Context": "e30="})
    [headers] = house.lambdas.headers
    assert headers["x-funclet-request-id"] == REQUEST
    assert headers["x-amzn-trace-id"] == TRACE
    assert headers["x-amz-client-context"] == "e30="
    assert headers["authorization"] == "Bearer t"


async def test_what_is_known_to_have_run_does_not_run_again(house: House) -> None:
    await house.deliver()
    assert await house.deliver() == Outcome()
    assert len(house.lambdas.events) == 1


async def test_a_failure_is_tried_again_after_one_and_two_minutes(house: House) -> None:
    house.lambdas.handler = fail
    assert await house.deliver() == Outcome(60)
    assert (await house.result() or {})["status"] == "Retrying"
    assert await house.deliver(60) == Outcome(120)
    assert await house.deliver(120) == Outcome()
    result = await house.result() or {}
    assert (result["status"], result["condition"], result["attempts"]) == ("Failed", "RetriesExhausted", 3)
    assert result["functionError"] == "Unhandled"
    assert len(house.lambdas.events) == 3


async def test_a_delivery_before_its_time_waits_for_it(house: House) -> None:
    """The server that was told of the delay has died, say."""
    house.lambdas.handler = fail
    await house.deliver()
    assert await house.deliver(20) == Outcome(40)
    assert len(house.lambdas.events) == 1


async def test_attempts_are_not_forgotten_however_often_an_event_is_delivered(house: House) -> None:
    house.apply(maximumRetryAttempts=1)
    house.lambdas.handler = fail
    await house.deliver()
    house.receives = 0  # its consumer was made anew
    assert await house.deliver(60) == Outcome()
    assert (await house.result() or {})["attempts"] == 2


async def test_a_throttled_event_comes_again_later_each_time_until_it_is_too_old(house: House) -> None:
    house.apply(maximumEventAgeInSeconds=60)
    house.lambdas.handler = throttle
    delays: list[float] = []
    while (outcome := await house.deliver(delays[-1] if delays else 0)).delay_seconds is not None:
        assert outcome.refused
        delays.append(outcome.delay_seconds)
    assert delays == [1, 2, 4, 8, 16]
    result = await house.result() or {}
    assert (result["condition"], result["attempts"]) == ("EventAgeExceeded", 0)


async def test_an_event_that_is_too_old_does_not_run(house: House) -> None:
    house.apply(maximumEventAgeInSeconds=60)
    assert await house.deliver(61) == Outcome()
    assert house.lambdas.events == []
    assert (await house.result() or {})["condition"] == "EventAgeExceeded"


@pytest.mark.parametrize(
    ("reserved", "handler", "condition"),
    [(0, succeed, "ZeroReservedConcurrency"), (None, stop_loop, "RecursiveInvocation")],
)
async def test_what_may_not_run_is_given_up_at_once(
    house: House, reserved: int | None, handler: Any, condition: str
) -> None:
    house.apply(reserved=reserved)
    house.lambdas.handler = handler
    assert await house.deliver() == Outcome()
    assert (await house.result() or {})["condition"] == condition


async def test_a_given_up_event_is_a_dead_letter(house: House) -> None:
    house.apply(maximumRetryAttempts=0)
    house.lambdas.handler = fail
    await house.deliver()
    await house.deliver()
    [letter] = await house.messages(DEAD_LETTERS)
    assert (letter.subject, letter.data) == ("funclet.dlq.default.hello", b'{"a": 1}')
    wanted = {
        "RequestID": REQUEST, "ErrorCode": "200", "ErrorMessage": "no luck", "Funclet-Request-Id": REQUEST,
        "Funclet-Condition": "RetriesExhausted", "Funclet-Attempts": "1", "Funclet-Trace-Id": TRACE,
    }  # fmt: skip
    assert wanted.items() <= letter.headers.items()


ON_BOTH = {"onSuccess": {"subject": "out.good"}, "onFailure": {"subject": "out.bad"}}


@pytest.mark.parametrize(
    ("handler", "subject", "condition"), [(succeed, "out.good", "Success"), (fail, "out.bad", "RetriesExhausted")]
)
async def test_a_subject_gets_the_record(house: House, handler: Any, subject: str, condition: str) -> None:
    house.apply(maximumRetryAttempts=0, destinationConfig=ON_BOTH)
    house.lambdas.handler = handler
    await house.deliver()
    await house.deliver()  # the second time it is a duplicate
    [message] = await house.messages("OUT")
    assert message.subject == subject
    [record] = await house.records()
    assert record["requestContext"]["condition"] == condition
    assert record["requestContext"]["functionArn"] == "arn:aws:lambda:us-east-1:000000000000:function:hello:$LATEST"
    assert record["requestPayload"] == {"a": 1}


async def test_a_function_gets_the_record_as_an_event_of_its_own(house: House) -> None:
    house.apply(destinationConfig={"onSuccess": {"function": "next"}})
    house.functions["default/next"] = make_revision("next")
    await house.deliver()
    await house.deliver()
    first, second = await house.messages(EVENTS)
    assert first.subject == "funclet.events.default.next"
    assert json.loads(first.data)["requestContext"]["requestId"] == REQUEST
    assert first.headers["Funclet-Trace-Id"].startswith(f"{TRACE};Lineage=")
    assert first.headers["Funclet-Request-Id"] == second.headers["Funclet-Request-Id"], "so that it runs once"


async def test_an_alias_of_a_function_gets_the_record(house: House) -> None:
    house.apply(destinationConfig={"onSuccess": {"function": "next:live"}})
    assert (await house.deliver()).delay_seconds, "there is no such alias"
    house.aliases["default/next:live"] = AliasRoute("default/next:1", "default/next:2", 0.5)
    house.functions |= {f"default/next:{number}": make_revision("next") for number in (1, 2)}
    await house.deliver()
    await house.deliver()
    first, second = await house.messages(EVENTS)
    assert first.subject in ("funclet.events.default.next:1", "funclet.events.default.next:2")
    assert first.subject == second.subject
    assert first.headers["Funclet-Qualifier"] == "live"
    assert first.headers["Funclet-Request-Id"] == second.headers["Funclet-Request-Id"], "so that it runs once"


async def test_an_alias_may_have_an_event_invoke_configuration_of_its_own(house: House) -> None:
    house.apply(maximumRetryAttempts=2)
    house.lambdas.handler = fail
    config = EventInvokeConfig(maximum_retry_attempts=0)
    house.aliases["default/hello:live"] = AliasRoute("default/hello", event_invoke=config)
    assert (await house.deliver(headers={"Funclet-Qualifier": "live"})) == Outcome()
    result = await house.result()
    assert result is not None
    assert (result["condition"], result["attempts"]) == ("RetriesExhausted", 1)


async def test_a_record_that_is_not_taken_is_delivered_later_and_the_function_does_not_run_again(house: House) -> None:
    house.apply(destinationConfig={"onSuccess": {"function": "next"}})
    assert await house.deliver() == Outcome(1)
    assert await house.deliver(1) == Outcome(2)
    house.functions["default/next"] = make_revision("next")
    assert await house.deliver(2) == Outcome()
    assert len(await house.messages(EVENTS)) == 1
    assert len(house.lambdas.events) == 1


async def test_a_record_that_nobody_takes_is_dropped_when_it_is_too_old(house: House) -> None:
    house.apply(destinationConfig={"onSuccess": {"function": "next"}}, maximumEventAgeInSeconds=60)
    await house.deliver()
    assert await house.deliver(60) == Outcome()


async def test_a_dead_letter_target_gets_the_event_itself(house: House) -> None:
    house.apply(dead_letter={"subject": "out.dead"}, maximumRetryAttempts=0, destinationConfig=ON_BOTH)
    house.lambdas.handler = fail
    await house.deliver()
    record, letter = await house.messages("OUT")
    assert (record.subject, letter.subject) == ("out.bad", "out.dead")
    assert letter.data == b'{"a": 1}'
    assert {"RequestID": REQUEST, "ErrorCode": "200", "ErrorMessage": "no luck"}.items() <= letter.headers.items()


def sample(name: str, **labels: str) -> float:
    """A counter of this process."""
    return REGISTRY.get_sample_value(name, {"namespace": "default", "function": "hello", **labels}) or 0.0


async def test_what_became_of_events_and_records_is_counted(house: House) -> None:
    forget_events("default/hello")
    house.apply(maximumRetryAttempts=1, destinationConfig={"onFailure": {"function": "next"}})
    house.lambdas.handler = fail
    await house.deliver()
    await house.deliver(60)
    outcomes = {name: sample("funclet_async_events_total", outcome=name) for name in ("retried", "RetriesExhausted")}
    assert outcomes == {"retried": 1, "RetriesExhausted": 1}
    record = {"destination": "onFailure", "outcome": "failed"}
    assert sample("funclet_destination_records_total", **record) == 1
    forget_events("default/hello")
    assert sample("funclet_destination_records_total", **record) == 0


async def test_an_event_of_a_function_that_is_gone_waits(house: House) -> None:
    house.functions.clear()
    outcome = await house.deliver()
    assert outcome.refused
    assert outcome.delay_seconds == 1
    assert house.lambdas.events == []


async def test_a_message_without_a_request_id_gets_one_that_stays(house: House) -> None:
    await house.deliver(headers={"Funclet-Request-Id": "no id"})
    await house.deliver(headers={"Funclet-Request-Id": "no id"})
    assert len(house.lambdas.events) == 1
