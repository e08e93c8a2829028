"""The role events: Triggers come and go, the scaler says what may run and hears what waits."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from nats.aio.client import Client
from tests.adapters.lambda_server import LambdaServer, ScalerServer, until
from tests.adapters.memory_resources import MemoryResources

from funclet.adapters.catalog import Catalog
from funclet.adapters.gateway_client import GatewayClient
from funclet.adapters.jetstream import connect
from funclet.adapters.resources import DELETED
from funclet.adapters.scaler_client import ScalerClient
from funclet.core import batching
from funclet.core.messages import Draining, Gone, InstanceAddress, Ready, Snapshot
from funclet.events.demand import DemandLedger
from funclet.events.role import Events
from funclet.events.settings import EventsSettings
from funclet.events.slots import Slots

numbers = itertools.count()
FUNCTION = "default/hello"


@dataclass
class House:
    """The role between real servers."""

    resources: MemoryResources
    lambdas: LambdaServer
    scaler: ScalerServer
    nats: Client
    stream: str

    def apply_function(self, revision: str = "r1", timeout: int = 3) -> None:
        spec = {"runtime": "python3.11", "handler": "index.handler", "timeout": timeout}
        active = {"revision": revision, "generation": 1, "codeSha256": "0" * 64, "codeSize": 1, "spec": spec}
        metadata = {"name": "hello", "namespace": "default", "uid": "1"}
        self.resources.put("Function", {"metadata": metadata, "spec": spec, "status": {"active": active}})

    def delete_function(self) -> None:
        self.resources.put("Function", {"metadata": {"name": "hello", "namespace": "default"}}, DELETED)

    def apply_trigger(self, **spec: Any) -> None:
        source = {"stream": self.stream, "batchSize": 2, **spec.pop("jetstream", {})}
        spec = {"function": {"name": "hello"}, "jetstream": source, **spec}
        self.resources.put("Trigger", {"metadata": {"name": self.stream.lower(), "namespace": "default"}, "spec": spec})

    def delete_trigger(self) -> None:
        self.resources.put("Trigger", {"metadata": {"name": self.stream.lower(), "namespace": "default"}}, DELETED)

    def instance(self, revision: str = "r1", slots: int = 1) -> InstanceAddress:
        ports = list(range(8710, 8710 + slots))
        return InstanceAddress(
            name=f"{revision}-{slots}", function=FUNCTION, revision=revision, host="127.0.0.1", slots=ports, token="t"
        )

    async def publish(self, *bodies: str) -> None:
        for body in bodies:
            await self.nats.jetstream().publish(f"{self.stream}.new", body.encode())

    def backlog(self) -> int | None:
        return self.scaler.backlog(FUNCTION)


@pytest.fixture
async def house(nats_url: str) -> AsyncIterator[House]:
    resources, client, stream = MemoryResources(), await connect(nats_url), f"E{next(numbers)}"
    await client.jetstream().add_stream(name=stream, subjects=[f"{stream}.>"])
    async with LambdaServer() as lambdas, ScalerServer() as scaler:
        settings = EventsSettings(
            internal_token="t", nats_url=nats_url, gateway_url=lambdas.url, scaler_url=scaler.url, stop_seconds=1
        )
        catalog = Catalog(resources)
        gateway, scaler_client = GatewayClient(lambdas.url, "t"), ScalerClient(scaler.url, "t", "events-1")
        following = asyncio.create_task(catalog.run())
        events = Events(settings, catalog, client, gateway, scaler_client, resources)
        await events.start()
        await until(lambda: scaler.listeners == 1)
        yield House(resources, lambdas, scaler, client, stream)
        await events.stop()
        following.cancel()
        await asyncio.gather(gateway.close(), scaler_client.close())
    await client.close()


async def test_a_backlog_brings_instances_and_is_then_drained(house: House) -> None:
    house.apply_function()
    house.apply_trigger()
    await house.publish(*map(str, range(9)))
    await until(lambda: house.backlog() == 5)
    assert house.lambdas.events == []
    house.scaler.tell(Snapshot(instances=[house.instance(slots=2)]))
    await until(lambda: len(house.lambdas.bodies) == 9)
    await until(lambda: house.backlog() == 0)
    assert sorted(house.lambdas.bodies) == [str(number) for number in range(9)]


async def test_the_first_message_after_a_rest_is_reported(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "REST_POLL_SECONDS", 3600)  # no poll may take the place of the wake-up
    house.apply_function()
    house.apply_trigger()
    await until(lambda: house.backlog() == 0)
    await asyncio.sleep(batching.WOKEN_FOR_SECONDS + 0.5)  # at rest: it will look no more by itself
    await house.publish("one")
    await until(lambda: house.backlog() == 1)


async def test_the_order_of_function_and_trigger_does_not_matter(house: House) -> None:
    house.scaler.tell(Ready(instance=house.instance()))
    house.apply_trigger()
    await house.publish("one")
    house.apply_function()
    await until(lambda: house.lambdas.bodies == ["one"])


async def test_slots_of_another_revision_or_draining_ones_do_not_count(house: House) -> None:
    house.scaler.tell(Snapshot(instances=[house.instance("r0"), house.instance("r1")]))
    house.scaler.tell(Draining(instance="r1-1"))
    house.apply_function("r1")
    house.apply_trigger()
    await house.publish("one")
    await until(lambda: house.backlog() == 1)
    await asyncio.sleep(0.5)
    assert house.lambdas.events == []
    house.scaler.tell(Gone(instance="r0-1"))
    house.scaler.tell(Ready(instance=house.instance("r1", 2)))
    await until(lambda: house.lambdas.bodies == ["one"])


async def test_a_disabled_trigger_takes_nothing_and_wants_nothing(house: House) -> None:
    house.scaler.tell(Snapshot(instances=[]))
    house.apply_function()
    house.apply_trigger()
    await house.publish("one", "two", "three")
    await until(lambda: house.backlog() == 2)
    house.apply_trigger(enabled=False)
    await until(lambda: house.backlog() == 0)
    house.scaler.tell(Ready(instance=house.instance()))
    await asyncio.sleep(0.5)
    assert house.lambdas.events == []
    house.apply_trigger()
    await until(lambda: len(house.lambdas.bodies) == 3)


@pytest.mark.parametrize("end", [House.delete_trigger, House.delete_function])
async def test_what_is_deleted_wants_nothing(house: House, end: Any) -> None:
    house.apply_function()
    house.apply_trigger()
    await house.publish("one")
    await until(lambda: house.backlog() == 1)
    end(house)
    await until(lambda: house.backlog() == 0)


async def test_a_changed_trigger_is_obeyed(house: House) -> None:
    house.apply_function()
    house.apply_trigger()
    await house.publish(*map(str, range(6)))
    await until(lambda: house.backlog() == 3)
    house.apply_trigger(jetstream={"batchSize": 6})
    await until(lambda: house.backlog() == 1)
    house.scaler.tell(Ready(instance=house.instance()))
    await until(lambda: len(house.lambdas.events) == 1)
    assert len(house.lambdas.bodies) == 6


def test_a_snapshot_replaces_all_that_was_known() -> None:
    slots = Slots()
    changes: list[int] = []
    slots.listen(FUNCTION, lambda: changes.append(slots.count(FUNCTION, "r1")))
    old, kept, new = (_address(name) for name in ("old", "kept", "new"))
    slots.apply(Snapshot(instances=[old, kept]))
    slots.apply(Snapshot(instances=[kept, new]))
    slots.apply(Ready(instance=new))  # told twice, counted once
    assert slots.count(FUNCTION, "r1") == 4
    slots.apply(Gone(instance="new"))
    slots.apply(Draining(instance="unheard of"))
    assert slots.count(FUNCTION, "r1") == changes[-1] == 2


def _address(name: str) -> InstanceAddress:
    return InstanceAddress(name=name, function=FUNCTION, revision="r1", host="h", slots=[8710, 8711], token="t")


def test_an_unknown_source_makes_the_functions_backlog_unknown() -> None:
    ledger = DemandLedger()
    ledger.put(FUNCTION, "default/one", 2)
    ledger.put(FUNCTION, "default/two", 3)
    assert ledger.take_report() == {FUNCTION: 5}
    ledger.put(FUNCTION, "default/two", None)
    assert ledger.take_report() == {FUNCTION: None}
    ledger.remove(FUNCTION, "default/two")
    assert ledger.take_report() == {FUNCTION: 2}
    ledger.remove(FUNCTION, "default/one")
    assert ledger.take_report() == {FUNCTION: 0}
    assert ledger.take_report() == {}, "an idle function costs nothing in a report"


def test_a_report_that_was_not_delivered_is_given_again() -> None:
    ledger = DemandLedger()
    ledger.put(FUNCTION, "default/one", 0)
    assert ledger.take_report() == {FUNCTION: 0}
    ledger.return_report({FUNCTION})
    assert ledger.take_report() == {FUNCTION: 0}


async def test_reports_are_a_sign_of_life(house: House) -> None:
    seen = len(house.scaler.reports)
    await until(lambda: len(house.scaler.reports) >= seen + 2)
    assert {report.reporter for report in house.scaler.reports} == {"events-1"}


async def test_a_stream_that_is_not_there_wants_nothing_until_it_is(house: House) -> None:
    jetstream = house.nats.jetstream()
    house.apply_function()
    house.apply_trigger()
    await house.publish("one")
    await until(lambda: house.backlog() == 1)
    await jetstream.delete_stream(house.stream)
    await until(lambda: house.backlog() == 0)
    await jetstream.add_stream(name=house.stream, subjects=[f"{house.stream}.>"])
    await house.publish("two", "three", "four")
    await until(lambda: house.backlog() == 2)


async def test_a_draining_instance_is_let_go_at_once(house: House) -> None:
    house.scaler.tell(Snapshot(instances=[house.instance()]))
    house.scaler.tell(Draining(instance="r1-1"))
    await until(lambda: any("r1-1" in report.drained for report in house.scaler.reports))
