"""One Trigger's runner between a real JetStream and a server that answers as Lambda does."""

import asyncio
import contextlib
import itertools
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from tests.adapters.lambda_server import LambdaServer, fail, succeed, until
from tests.ports import free_port

from funclet.adapters.gateway_client import GatewayClient
from funclet.adapters.jetstream import connect
from funclet.adapters.nats_server import NatsServer
from funclet.adapters.sources.stream import StreamPlace, StreamSource
from funclet.core import batching
from funclet.core.backoff import Backoff
from funclet.core.batching import Policy
from funclet.core.event_filter import EventFilter
from funclet.core.sqs_event import Queue
from funclet.errors import Unavailable
from funclet.events.runner import Runner, RunnerSpec

POLICY = Policy(
    batch_size=10,
    window_seconds=0,
    maximum_receives=3,
    ack_wait_seconds=30,
    redelivery=Backoff(base_seconds=0.05, cap_seconds=0.2),
)
numbers = itertools.count()


async def brief(event: dict[str, Any]) -> web.Response:
    await asyncio.sleep(0.02)
    return await succeed(event)


@dataclass
class Bench:
    """A stream of its own, a runner over it, and what the runner says."""

    nats: Client
    jetstream: JetStreamContext
    lambdas: LambdaServer
    gateway: GatewayClient
    stream: str
    slots: int = 1
    backlogs: list[int | None] = field(default_factory=list)

    async def create_stream(self) -> None:
        await self.jetstream.add_stream(name=self.stream, subjects=[f"{self.stream}.>"])

    async def publish(self, *bodies: str, headers: dict[str, str] | None = None) -> None:
        for body in bodies:
            await self.jetstream.publish(f"{self.stream}.new", body.encode(), headers=headers)

    @contextlib.asynccontextmanager
    async def running(
        self, policy: Policy = POLICY, stop_seconds: float = 1.0, patterns: tuple[str, ...] = ()
    ) -> AsyncIterator[Runner]:
        spec = replace(self.spec(policy), filter=EventFilter(patterns))
        runner = Runner(spec, self.opener(policy), self.gateway, lambda: self.slots, self.backlogs.append)
        runner.start()
        try:
            yield runner
        finally:
            await runner.stop(stop_seconds)

    def spec(self, policy: Policy) -> RunnerSpec:
        return RunnerSpec(f"default/{self.stream}", "default/hello", 3, self.place, policy)

    @property
    def place(self) -> StreamPlace:
        origin = Queue(self.stream, "us-east-1", "000000000000")
        return StreamPlace(self.stream, ">", f"funclet_default_{self.stream}", origin)

    def opener(self, policy: Policy) -> Callable[[], Awaitable[StreamSource]]:
        return partial(StreamSource.open, self.nats, self.place, policy)

    async def depth(self) -> int:
        info = await self.jetstream.consumer_info(self.stream, f"funclet_default_{self.stream}")
        return int(info.num_pending or 0) + int(info.num_ack_pending or 0)

    async def drained(self) -> bool:
        with contextlib.suppress(NotFoundError):  # the runner has not begun
            return await self.depth() == 0
        return False


@pytest.fixture
async def bench(nats_url: str) -> AsyncIterator[Bench]:
    client = await connect(nats_url)
    async with LambdaServer() as lambdas:
        gateway = GatewayClient(lambdas.url, "token")
        bench = Bench(client, client.jetstream(), lambdas, gateway, f"S{next(numbers)}")
        await bench.create_stream()
        yield bench
        await gateway.close()
    await client.close()


async def test_a_thousand_messages_are_handled_and_none_is_left(bench: Bench) -> None:
    bodies = [f"message {number}" for number in range(1000)]
    await bench.publish(*bodies)
    bench.lambdas.handler = brief
    bench.slots = 8
    async with bench.running():
        await until(lambda: set(bodies) <= set(bench.lambdas.bodies))
        await until(bench.drained)
    assert len(bench.lambdas.bodies) == 1000, "nothing failed, so nothing was delivered twice"
    assert max(len(event["Records"]) for event in bench.lambdas.events) <= 10
    assert 2 <= bench.lambdas.most_running <= 8
    assert bench.lambdas.paths == {"/namespaces/default/2015-03-31/functions/hello/invocations"}
    assert bench.lambdas.tokens == {"Bearer token"}


async def test_nothing_is_taken_while_there_is_no_slot(bench: Bench) -> None:
    bench.slots = 0
    await bench.publish("one", "two")
    async with bench.running() as runner:
        await until(lambda: bench.backlogs[-1:] == [1])
        reports = len(bench.backlogs)
        await until(lambda: len(bench.backlogs) >= reports + 3)  # it has looked three times more
        info = await bench.jetstream.consumer_info(bench.stream, bench.place.consumer)
        assert (info.num_pending, info.num_ack_pending) == (2, 0)
        assert bench.lambdas.events == []
        bench.slots = 1
        runner.notice()
        await until(lambda: sorted(bench.lambdas.bodies) == ["one", "two"])


KINDS = ('{"body": {"kind": ["new"]}}',)


async def test_only_what_passes_the_filter_reaches_the_function(bench: Bench) -> None:
    bodies = [json.dumps({"kind": "new" if number % 5 == 0 else "old", "n": number}) for number in range(50)]
    await bench.publish(*bodies, "a text")
    async with bench.running(patterns=KINDS):
        await until(bench.drained)
    assert sorted(bench.lambdas.bodies) == sorted(body for body in bodies if "new" in body)


async def test_what_is_filtered_out_wants_no_instance(bench: Bench) -> None:
    bench.slots = 0
    await bench.publish(*(json.dumps({"kind": "old", "n": number}) for number in range(100)))
    async with bench.running(patterns=KINDS):
        await until(bench.drained)
        assert set(bench.backlogs) == {0}
        await bench.publish(*(json.dumps({"kind": "new", "n": number}) for number in range(3)))
        await until(lambda: len(bench.lambdas.bodies) == 3)  # it is the gateway that wants one
        await until(bench.drained)


async def test_a_source_at_rest_is_woken_by_a_message(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "REST_POLL_SECONDS", 3600)
    async with bench.running():
        await until(lambda: len(bench.backlogs) >= 2)  # looked, listened, looked again
        await asyncio.sleep(batching.WOKEN_FOR_SECONDS + 0.5)  # at rest: it will look no more by itself
        await bench.publish("one")
        await until(lambda: bench.lambdas.bodies)


async def test_the_batching_window_gathers(bench: Bench) -> None:
    async with bench.running(replace(POLICY, batch_size=3, window_seconds=10)):
        for body in ("one", "two", "three"):
            await bench.publish(body)
            await asyncio.sleep(0.05)
        await until(lambda: bench.lambdas.events)
    assert [len(event["Records"]) for event in bench.lambdas.events] == [3]


async def test_messages_that_the_answer_names_come_again_and_no_others(bench: Bench) -> None:
    async def fail_odd_once(event: dict[str, Any]) -> web.Response:
        failed = [
            {"itemIdentifier": record["messageId"]}
            for record in event["Records"]
            if int(record["body"]) % 2 and record["attributes"]["ApproximateReceiveCount"] == "1"
        ]
        return web.json_response({"batchItemFailures": failed})

    bench.lambdas.handler = fail_odd_once
    await bench.publish(*map(str, range(10)))
    async with bench.running(replace(POLICY, report_failures=True)):
        await until(lambda: len(bench.lambdas.bodies) >= 15)
        await until(bench.drained)
    assert sorted(bench.lambdas.bodies) == sorted([*map(str, range(10)), "1", "3", "5", "7", "9"])


async def test_after_maximum_receives_a_message_goes_to_the_dead_letter_subject(bench: Bench) -> None:
    dead = f"{bench.stream}-dead"
    await bench.jetstream.add_stream(name=dead, subjects=[dead])
    bench.lambdas.handler = fail
    await bench.publish("poison", headers={"color": "red"})
    async with bench.running(replace(POLICY, dead_letter_subject=dead)):
        await until(bench.drained)
    assert bench.lambdas.bodies == ["poison"] * 3
    receives = [record["attributes"]["ApproximateReceiveCount"] for record in bench.lambdas.records]
    assert receives == ["1", "2", "3"]
    assert (await bench.jetstream.stream_info(dead)).state.messages == 1
    letter = await bench.jetstream.get_msg(dead, 1)
    assert letter.data == b"poison"
    assert letter.headers is not None
    assert letter.headers["color"] == "red"
    assert letter.headers["Funclet-Subject"] == f"{bench.stream}.new"
    assert letter.headers["Funclet-Stream"] == bench.stream
    assert letter.headers["Funclet-Sequence"] == "1"
    assert letter.headers["Funclet-Receives"] == "3"
    assert letter.headers["Funclet-Error"] == "Unhandled: ValueError: no luck"


async def test_without_a_dead_letter_subject_the_message_is_given_up(bench: Bench) -> None:
    bench.lambdas.handler = fail
    await bench.publish("poison")
    async with bench.running():
        await until(bench.drained)
    assert len(bench.lambdas.bodies) == 3


async def test_a_message_is_kept_while_no_stream_holds_the_dead_letter_subject(bench: Bench) -> None:
    bench.lambdas.handler = fail
    await bench.publish("poison")
    async with bench.running(replace(POLICY, dead_letter_subject="nobody.holds.this")):
        await until(lambda: len(bench.lambdas.bodies) > 3)
        assert await bench.depth() == 1


async def test_throttled_deliveries_do_not_count(bench: Bench) -> None:
    async def throttle(_event: dict[str, Any]) -> web.Response:
        if len(bench.lambdas.events) <= 5:
            return web.json_response({"Type": "User"}, status=429 if len(bench.lambdas.events) % 2 else 503)
        return await succeed(_event)

    bench.lambdas.handler = throttle
    await bench.publish("one")
    async with bench.running():
        await until(lambda: len(bench.lambdas.bodies) >= 6)
        await until(bench.drained)
    receives = {record["attributes"]["ApproximateReceiveCount"] for record in bench.lambdas.records}
    assert receives == {"1"}


async def test_an_invocation_longer_than_the_acknowledgement_wait_keeps_its_messages(bench: Bench) -> None:
    async def slow(event: dict[str, Any]) -> web.Response:
        await asyncio.sleep(6.5)
        return await succeed(event)

    bench.lambdas.handler = slow
    bench.slots = 2
    await bench.publish("one", "two")
    async with bench.running(replace(POLICY, ack_wait_seconds=3)):
        await until(lambda: bench.lambdas.bodies)
        await until(bench.drained)
    assert sorted(bench.lambdas.bodies) == ["one", "two"]


async def test_what_a_runner_cannot_finish_is_delivered_to_the_next_one(bench: Bench) -> None:
    async def hang(event: dict[str, Any]) -> web.Response:
        await asyncio.sleep(60)
        return await succeed(event)

    bench.lambdas.handler = hang
    await bench.publish("one")
    policy = replace(POLICY, ack_wait_seconds=3)
    async with bench.running(policy, stop_seconds=0.1):
        await until(lambda: bench.lambdas.bodies == ["one"])
    assert await bench.depth() == 1
    bench.lambdas.handler = succeed
    async with bench.running(policy):
        await until(lambda: bench.lambdas.bodies == ["one", "one"])
        await until(bench.drained)


async def test_a_runner_that_stops_waits_for_its_batch(bench: Bench) -> None:
    async def slow(event: dict[str, Any]) -> web.Response:
        await asyncio.sleep(0.3)
        return await succeed(event)

    bench.lambdas.handler = slow
    await bench.publish("one")
    async with bench.running(stop_seconds=5):
        await until(lambda: bench.lambdas.running == 1)
    assert await bench.depth() == 0


async def test_a_gathering_that_is_stopped_gives_back_what_it_took(bench: Bench) -> None:
    await bench.publish("one")
    async with bench.running(replace(POLICY, window_seconds=60)) as runner:
        await until(lambda: _is_pending(bench, runner))
    assert bench.lambdas.events == []
    async with bench.running():
        await until(lambda: bench.lambdas.bodies == ["one"])


async def _is_pending(bench: Bench, runner: Runner) -> bool:
    with contextlib.suppress(NotFoundError):
        info = await bench.jetstream.consumer_info(bench.stream, bench.place.consumer)
        return bool(info.num_ack_pending == 1)
    return False


async def test_a_missing_stream_holds_nothing_and_is_then_served(bench: Bench) -> None:
    await bench.jetstream.delete_stream(bench.stream)
    async with bench.running():
        await until(lambda: bench.backlogs[-1:] == [0])
        await bench.create_stream()
        await bench.publish("one")
        await until(lambda: bench.lambdas.bodies == ["one"])


async def test_a_queue_without_its_stream_is_unavailable(bench: Bench) -> None:
    with pytest.raises(Unavailable):
        await StreamSource.open(bench.nats, replace(bench.place, stream="NOWHERE"), POLICY)


async def test_a_gateway_that_is_away_costs_no_message(bench: Bench) -> None:
    absent = GatewayClient("http://127.0.0.1:9", "token")
    runner = Runner(bench.spec(POLICY), bench.opener(POLICY), absent, lambda: 1, bench.backlogs.append)
    await bench.publish("one")
    runner.start()
    await until(lambda: _was_delivered_again(bench, runner))
    await runner.stop(1)
    await absent.close()
    async with bench.running():
        await until(lambda: bench.lambdas.bodies == ["one"])
        await until(bench.drained)


async def _was_delivered_again(bench: Bench, runner: Runner) -> bool:
    with contextlib.suppress(NotFoundError):
        info = await bench.jetstream.consumer_info(bench.stream, bench.place.consumer)
        return bool(info.delivered and info.delivered.consumer_seq > 3)
    return False


async def test_records_carry_headers_and_the_place_in_the_stream(bench: Bench) -> None:
    before = time.time()
    await bench.publish(json.dumps({"id": 1}), headers={"color": "red"})
    async with bench.running():
        await until(lambda: bench.lambdas.records)
    (record,) = bench.lambdas.records
    assert record["eventSourceARN"] == f"arn:aws:sqs:us-east-1:000000000000:{bench.stream}"
    assert record["messageAttributes"]["color"]["stringValue"] == "red"
    assert int(before * 1000) <= int(record["attributes"]["SentTimestamp"]) <= time.time() * 1000


async def test_a_server_that_restarts_loses_nothing(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, free_port())
    await server.start()
    client = await connect(server.url)
    async with LambdaServer() as lambdas:
        gateway = GatewayClient(lambdas.url, "token")
        bench = Bench(client, client.jetstream(), lambdas, gateway, "RESTART", slots=2)
        await bench.create_stream()
        async with bench.running(replace(POLICY, ack_wait_seconds=2)):
            await bench.publish(*map(str, range(50)))
            await until(lambda: bench.lambdas.bodies)
            await server.stop()
            await server.start()
            await bench.publish(*map(str, range(50, 100)))
            await until(lambda: set(map(str, range(100))) <= set(lambdas.bodies))
            await until(bench.drained)
        await gateway.close()
    await client.close()
    await server.stop()


RUNNER_PROCESS = """
import asyncio, sys
from functools import partial
from funclet.adapters.gateway_client import GatewayClient
from funclet.adapters.jetstream import connect
from funclet.adapters.sources.stream import StreamPlace, StreamSource
from funclet.core.batching import Policy
from funclet.core.event_filter import EventFilter
from funclet.core.sqs_event import Queue
from funclet.events.runner import Runner, RunnerSpec

async def main(nats_url, gateway_url, stream):
    policy = Policy(batch_size=10, window_seconds=0, maximum_receives=3, ack_wait_seconds=3)
    place = StreamPlace(stream, ">", f"funclet_default_{stream}", Queue(stream, "us-east-1", "000000000000"))
    spec = RunnerSpec(f"default/{stream}", "default/hello", 3, place, policy)
    open_queue = partial(StreamSource.open, await connect(nats_url), place, policy)
    runner = Runner(spec, open_queue, GatewayClient(gateway_url, "token"), lambda: 4, lambda _: None)
    runner.start()
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_process_that_is_killed_loses_nothing_and_repeats_only_what_it_held(
    bench: Bench, nats_url: str
) -> None:
    bodies = [str(number) for number in range(300)]
    await bench.publish(*bodies)
    bench.lambdas.handler = brief
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", RUNNER_PROCESS, nats_url, bench.lambdas.url, bench.stream),
        env={**os.environ, "PYTHONPATH": "operator"},
    )
    await until(lambda: len(bench.lambdas.bodies) >= 100)
    process.kill()
    await process.wait()
    info = await bench.jetstream.consumer_info(bench.stream, f"funclet_default_{bench.stream}")
    held = info.num_ack_pending or 0
    assert (info.num_pending or 0) > 0
    bench.slots = 4
    async with bench.running(replace(POLICY, ack_wait_seconds=3)):
        await until(bench.drained)
    assert set(bench.lambdas.bodies) == set(bodies)
    assert len(bench.lambdas.bodies) - len(bodies) <= held <= 40
