"""The role events with asynchronous invocations: who has a worker, what the scaler hears, what comes again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.adapters.events_house import House, running_house
from tests.adapters.lambda_server import fail, succeed, until

from funclet.adapters.event_streams import DEAD_LETTERS


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path) as house:
        yield house


async def test_an_event_runs_once_and_is_gone(house: House) -> None:
    house.apply()
    await house.accept(1, 2, 3)
    await until(house.is_done)
    assert sorted(house.lambdas.events) == [1, 2, 3]


async def test_one_event_runs_without_an_instance_and_the_others_are_demand(house: House) -> None:
    """The one waits at the gateway; with the first slots as many run as there are slots."""
    release = asyncio.Event()

    async def wait(_: Any) -> web.Response:
        await release.wait()
        return web.json_response(None)

    house.lambdas.handler = wait
    house.apply()
    await house.accept(*range(10))
    await until(lambda: house.scaler.backlog("default/hello") == 9)
    await until(lambda: house.lambdas.running == 1)
    assert house.lambdas.most_running == 1
    house.announce(4)
    await until(lambda: house.lambdas.running == 4)
    await until(lambda: house.scaler.backlog("default/hello") == 6)
    release.set()
    await until(house.is_done)
    assert house.lambdas.most_running == 4
    await until(lambda: house.scaler.backlog("default/hello") == 0)


async def test_an_idle_function_has_no_consumer(house: House) -> None:
    for number in range(20):
        house.apply(f"idle-{number}")
    house.apply()
    await house.accept(1)
    await until(house.is_done)
    assert await house.consumers() == {"funclet_default_hello"}


async def test_one_functions_backlog_does_not_block_another(house: House) -> None:
    async def only_quick(event: Any) -> web.Response:
        if event < 1000:
            await asyncio.sleep(30)
        return web.json_response(None)

    house.lambdas.handler = only_quick
    house.apply("slow")
    house.apply("quick")
    await house.accept(*range(200), function="slow")
    await until(lambda: house.lambdas.running == 1)
    await house.accept(*range(1000, 1010), function="quick")
    await until(lambda: {event for event in house.lambdas.events if event >= 1000} == set(range(1000, 1010)))


async def test_failures_are_tried_again_at_their_times_and_then_dead_letters(house: House) -> None:
    house.lambdas.handler = fail
    house.apply()
    await house.accept(7)
    await until(house.is_done)
    assert house.lambdas.events == [7, 7, 7]
    first, second, third = house.lambdas.times
    assert second - first >= 0.3
    assert third - second >= 0.6
    assert (await house.nats.jetstream().stream_info(DEAD_LETTERS)).state.messages == 1


async def test_an_event_that_waits_for_its_next_attempt_wants_no_instance(house: House) -> None:
    async def throttle(_: Any) -> web.Response:
        return web.json_response({}, status=429, headers={"retry-after": "30"})

    house.lambdas.handler = throttle
    house.apply()
    await house.accept(1)
    await until(lambda: house.lambdas.events == [1])
    await until(lambda: house.scaler.backlog("default/hello") == 0)


async def test_while_a_function_cannot_run_its_other_events_are_not_tried_all_at_once(house: House) -> None:
    async def refuse(_: Any) -> web.Response:
        return web.json_response({}, status=503, headers={"retry-after": "1"})

    house.lambdas.handler = refuse
    house.apply()
    house.announce(2)
    await house.accept(*range(100))
    await until(lambda: len(house.lambdas.events) >= 6)
    assert house.lambdas.times[5] - house.lambdas.times[0] > 0.2
    house.lambdas.handler = succeed
    await until(lambda: set(house.lambdas.events) == set(range(100)))


async def test_events_of_a_function_that_comes_later_wait_for_it(house: House) -> None:
    await house.accept(1)
    house.apply("other")
    await house.accept(2, function="other")
    await until(lambda: house.lambdas.events == [2])
    house.apply()
    await until(lambda: sorted(house.lambdas.events) == [1, 2])


async def test_a_deleted_function_wants_nothing(house: House) -> None:
    async def wait(_: Any) -> web.Response:
        await asyncio.sleep(30)
        return web.json_response(None)

    house.lambdas.handler = wait
    house.apply()
    await house.accept(1, 2, 3)
    await until(lambda: (house.scaler.backlog("default/hello") or 0) > 0)
    house.delete()
    await until(lambda: house.scaler.backlog("default/hello") == 0)


async def test_what_waited_while_the_role_was_away_runs_when_it_is_back(house: House) -> None:
    house.apply()
    await house.accept(1)
    await until(house.is_done)
    await house.stop()
    await house.accept(2, 3)
    await house.start()
    house.apply()
    await until(house.is_done)
    assert sorted(house.lambdas.events) == [1, 2, 3]


async def test_what_was_running_when_the_role_ended_comes_again_soon(house: House) -> None:
    async def hang(_: Any) -> web.Response:
        await asyncio.sleep(30)
        return web.json_response(None)

    house.lambdas.handler = hang
    house.apply()
    await house.accept(1)
    await until(lambda: house.lambdas.running == 1)
    await house.stop()
    house.lambdas.handler = succeed
    await house.start()
    house.apply()
    await until(house.is_done)
    assert house.lambdas.events == [1, 1]


async def test_a_server_that_dies_and_comes_back_loses_nothing_and_repeats_nothing_that_is_known(house: House) -> None:
    async def be_slow(_: Any) -> web.Response:
        await asyncio.sleep(0.01)
        return web.json_response(None)

    house.lambdas.handler = be_slow
    house.apply()
    house.announce(4)
    await house.accept(*range(100))
    await until(lambda: len(house.lambdas.events) > 20)
    house.server.kill()
    await house.server.stop()
    await house.server.start()
    await until(house.is_done)
    assert set(house.lambdas.events) == set(range(100))
    repeated = len(house.lambdas.events) - 100
    assert repeated <= 8, "what ran while the server was away, and nothing else"
