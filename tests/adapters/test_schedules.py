"""Schedules on a real JetStream: due once whoever looks, made up for after an absence, forgotten when deleted."""

import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.errors import NotFoundError
from tests.adapters.events_house import House, running_house
from tests.adapters.lambda_server import until
from tests.ports import free_port

from funclet.adapters.event_store import EventStore
from funclet.adapters.event_streams import EVENTS, StreamPolicy, make_streams
from funclet.adapters.jetstream import connect
from funclet.adapters.metrics import SCHEDULED
from funclet.adapters.nats_server import NatsServer
from funclet.adapters.schedule_journal import BUCKET, ScheduleJournal
from funclet.api.trigger import ScheduleSource
from funclet.core.qualifiers import AliasRoute
from funclet.core.schedule import parse_schedule
from funclet.events.schedules import Schedules, ScheduleSpec

SOON = timedelta(seconds=8)
"""What was due before its Trigger was known is not made up for: enough for a slow machine to get there."""

START = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Clock:
    """A wall clock that the test sets; it does not run."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class World:
    """A JetStream, a clock, and any number of replicas, one after another or beside each other."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.clock = Clock()

    @contextlib.asynccontextmanager
    async def replica(self, *specs: ScheduleSpec) -> AsyncIterator[Schedules]:
        store = EventStore(self.client)
        schedules = Schedules(store, ScheduleJournal(self.client, 1), "us-east-1", self.clock)
        schedules.start()
        for spec in specs:
            schedules.put(spec)
        try:
            yield schedules
        finally:
            await schedules.stop()
            await store.close()

    async def due_times(self) -> list[str]:
        """Of the events that were accepted, in their order."""
        jetstream, found = self.client.jetstream(), []
        state = (await jetstream.stream_info(EVENTS)).state
        for sequence in range(1, state.last_seq + 1):
            message = await jetstream.get_msg(EVENTS, sequence)
            found.append(json.loads(message.data or b"{}")["time"][11:16])
        return found

    async def has(self, *times: str) -> bool:
        return await self.due_times() == list(times)

    async def accepted(self, events: int) -> bool:
        return len(await self.due_times()) >= events

    async def progress(self, trigger: str) -> dict[str, Any] | None:
        """What is written down of it."""
        with contextlib.suppress(NotFoundError):
            entry = await (await self.client.jetstream().key_value(BUCKET)).get(trigger)
            progress: dict[str, Any] = json.loads(entry.value or b"")
            return progress
        return None

    async def is_known(self, trigger: str = "default/tick") -> bool:
        return await self.progress(trigger) is not None

    async def is_unknown(self, trigger: str = "default/tick") -> bool:
        return await self.progress(trigger) is None

    async def is_done_with(self, time: str, trigger: str = "default/tick") -> bool:
        return time in ((await self.progress(trigger)) or {}).get("done", "")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    server = NatsServer(tmp_path, free_port())
    await server.start()
    client = await connect(server.url)
    await make_streams(client, StreamPolicy())
    yield World(client)
    await client.close()
    await server.stop()


def spec(expression: str, generation: int = 1, name: str = "tick", **more: Any) -> ScheduleSpec:
    source = ScheduleSource.model_validate({"scheduleExpression": expression, **more})
    return ScheduleSpec(
        f"default/{name}", f"uid-{name}", generation, AliasRoute("default/hello"), source, parse_schedule(source)
    )


async def test_two_replicas_fire_a_schedule_once(world: World) -> None:
    hourly = spec("rate(1 hour)")
    async with world.replica(hourly), world.replica(hourly):
        await until(lambda: world.is_done_with("12:00"))
    world.clock.now += timedelta(hours=1)
    async with world.replica(hourly), world.replica(hourly):
        await until(lambda: world.is_done_with("13:00"))
    assert await world.due_times() == ["12:00", "13:00"]


async def test_what_is_not_due_yet_is_not_fired(world: World) -> None:
    daily = spec("cron(0 13 * * ? *)")
    async with world.replica(daily):
        await until(world.is_known)
    assert await world.due_times() == []
    world.clock.now += timedelta(hours=2)
    async with world.replica(daily):
        await until(lambda: world.is_done_with("13:00"))
    assert await world.due_times() == ["13:00"]


async def test_of_several_missed_times_the_last_is_made_up_for(world: World) -> None:
    hourly = spec("rate(1 hour)", name="hourly")
    async with world.replica(hourly):
        await until(lambda: world.is_done_with("12:00", "default/hourly"))
    world.clock.now += timedelta(hours=5, minutes=30)
    async with world.replica(hourly):
        await until(lambda: world.is_done_with("17:00", "default/hourly"))
    assert await world.due_times() == ["12:00", "17:00"]
    assert missed("hourly") == 4


async def test_what_comes_too_late_is_not_run(world: World) -> None:
    hourly = spec("rate(1 hour)", name="late", maximumEventAgeInSeconds=600)
    async with world.replica(hourly):
        await until(lambda: world.is_done_with("12:00", "default/late"))
    world.clock.now += timedelta(hours=1, minutes=30)
    async with world.replica(hourly), world.replica(hourly):
        await until(lambda: world.is_done_with("13:00", "default/late"))
        await until(lambda: missed("late"))
    assert await world.due_times() == ["12:00"]
    assert missed("late") == 1  # whatever the number of replicas
    world.clock.now += timedelta(minutes=35)
    async with world.replica(hourly):
        await until(lambda: world.is_done_with("14:00", "default/late"))
    assert await world.due_times() == ["12:00", "14:00"]


async def test_a_changed_schedule_begins_anew(world: World) -> None:
    """What its new expression would have been due at before is not made up for."""
    async with world.replica(spec("cron(0 20 * * ? *)")):
        await until(world.is_known)
    world.clock.now += timedelta(hours=3)
    changed = spec("cron(0 14,16 * * ? *)", generation=2)
    async with world.replica(changed):
        await until(lambda: is_of_generation(world, 2))
    assert await world.due_times() == []
    world.clock.now += timedelta(hours=1)
    async with world.replica(changed):
        await until(lambda: world.is_done_with("16:00"))
    assert await world.due_times() == ["16:00"]


async def test_one_that_still_has_the_old_spec_does_not_set_it_back(world: World) -> None:
    async with world.replica(spec("rate(1 hour)", generation=2)):
        await until(lambda: world.is_done_with("12:00"))
    async with world.replica(spec("rate(1 hour)", generation=1), spec("rate(1 hour)", name="other")):
        await until(lambda: world.is_done_with("12:00", "default/other"))
    assert await is_of_generation(world, 2)


async def test_one_that_goes_on_with_the_old_spec_does_not_set_it_back(world: World) -> None:
    async with world.replica(spec("rate(1 hour)")) as behind:
        await until(lambda: world.is_done_with("12:00"))
        async with world.replica(spec("rate(1 hour)", generation=2)):
            await until(lambda: is_of_generation(world, 2))
        world.clock.now += timedelta(hours=1)
        behind.put(spec("rate(1 hour)", name="other"))
        await until(lambda: world.is_done_with("13:00", "default/other"))
        await until(lambda: world.accepted(3))
    assert await is_of_generation(world, 2)


async def test_a_deleted_schedule_is_forgotten(world: World) -> None:
    hourly = spec("rate(1 hour)")
    async with world.replica(hourly) as schedules:
        await until(lambda: world.is_done_with("12:00"))
        schedules.remove("default/tick", deleted=True)
        await until(world.is_unknown)
        schedules.put(hourly)  # made again
        await until(lambda: world.is_done_with("12:00"))


async def is_of_generation(world: World, generation: int) -> bool:
    return ((await world.progress("default/tick")) or {}).get("generation") == generation


def missed(trigger: str) -> float:
    return float(SCHEDULED.labels("default", trigger, "missed")._value.get())


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path) as house:
        yield house


async def test_a_trigger_invokes_its_function_on_schedule(house: House) -> None:
    house.apply()
    soon = datetime.now(UTC) + SOON
    house.apply_trigger("soon", schedule={"scheduleExpression": f"at({soon:%Y-%m-%dT%H:%M:%S})", "input": "7"})
    await until(lambda: house.lambdas.events == [7])


async def test_a_disabled_or_wrong_one_invokes_nobody(house: House) -> None:
    house.apply()
    house.apply_trigger("off", enabled=False, schedule={"scheduleExpression": "rate(1 hour)", "input": "1"})
    house.apply_trigger("wrong", schedule={"scheduleExpression": "cron(61 * * * ? *)", "input": "2"})
    house.apply_trigger("on", schedule={"scheduleExpression": "rate(1 hour)", "input": "3"})
    await until(lambda: house.lambdas.events == [3])
    await until(house.is_done)
    house.apply_trigger("off", 2, enabled=True, schedule={"scheduleExpression": "rate(1 hour)", "input": "1"})
    await until(lambda: house.lambdas.events == [3, 1])


async def test_what_was_due_while_jetstream_was_away_is_made_up_for(house: House) -> None:
    house.apply()
    soon = datetime.now(UTC) + SOON
    house.apply_trigger("soon", schedule={"scheduleExpression": f"at({soon:%Y-%m-%dT%H:%M:%S})", "input": "7"})
    await until(lambda: World(house.nats).is_known("default/soon"))
    await house.server.stop()
    await until(lambda: datetime.now(UTC) > soon)
    assert house.lambdas.events == []
    await house.server.start()
    await until(lambda: house.lambdas.events == [7])


async def test_a_deleted_trigger_is_forgotten_by_the_role(house: House) -> None:
    house.apply()
    house.apply_trigger("gone", schedule={"scheduleExpression": "rate(1 hour)", "input": "1"})
    await until(lambda: World(house.nats).is_known("default/gone"))
    house.apply_trigger("gone", 2, enabled=False, schedule={"scheduleExpression": "rate(1 hour)", "input": "1"})
    house.delete_trigger("gone")
    await until(lambda: World(house.nats).is_unknown("default/gone"))
