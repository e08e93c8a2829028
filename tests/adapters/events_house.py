"""The role events between real servers, for tests of what it runs of its own accord."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from tests.adapters.lambda_server import LambdaServer, ScalerServer, until
from tests.adapters.memory_resources import MemoryResources
from tests.ports import free_port

from funclet.adapters.catalog import Catalog
from funclet.adapters.event_store import EventStore
from funclet.adapters.event_streams import DEAD_LETTERS, EVENTS, list_waiting
from funclet.adapters.gateway_client import GatewayClient
from funclet.adapters.jetstream import connect
from funclet.adapters.nats_server import NatsServer
from funclet.adapters.resources import DELETED
from funclet.adapters.scaler_client import ScalerClient
from funclet.core.asynchronous import Event
from funclet.core.messages import InstanceAddress, Ready
from funclet.events.role import Events
from funclet.events.settings import EventsSettings


@dataclass
class House:
    """The role between real servers. `start` may be called again after `stop`."""

    resources: MemoryResources
    lambdas: LambdaServer
    scaler: ScalerServer
    server: NatsServer
    nats: Client
    _running: list[Any] = field(default_factory=list)

    async def start(self) -> None:
        client = await connect(self.server.url)
        settings = EventsSettings(
            internal_token="t", nats_url=self.server.url, gateway_url=self.lambdas.url, scaler_url=self.scaler.url,
            stop_seconds=0.1, async_retry_seconds=(0.3, 0.6),
        )  # fmt: skip
        catalog = Catalog(self.resources)
        gateway, scaler = GatewayClient(self.lambdas.url, "t"), ScalerClient(self.scaler.url, "t", "events-1")
        events = Events(settings, catalog, client, gateway, scaler, self.resources)
        following = asyncio.create_task(catalog.run())
        await events.start()
        await until(lambda: self.scaler.listeners > 0)
        await until(self._streams_are_made)
        self._running = [events, following, gateway, scaler, client]

    async def stop(self) -> None:
        events, following, gateway, scaler, client = self._running
        await events.stop()
        following.cancel()
        await gateway.close()
        await scaler.close()
        await client.close()

    async def _streams_are_made(self) -> bool:
        streams = {info.config.name for info in await self.nats.jetstream().streams_info()}
        return {EVENTS, DEAD_LETTERS} <= streams

    def apply(self, name: str = "hello", **spec: Any) -> None:
        spec = {"runtime": "python3.11", "handler": "index.handler", "timeout": 3, **spec}
        active = {"revision": "r1", "generation": 1, "codeSha256": "0" * 64, "codeSize": 1, "spec": spec}
        metadata = {"name": name, "namespace": "default", "uid": "1"}
        self.resources.put("Function", {"metadata": metadata, "spec": spec, "status": {"active": active}})

    def delete(self, name: str = "hello") -> None:
        self.resources.put("Function", {"metadata": {"name": name, "namespace": "default"}}, DELETED)

    def apply_trigger(self, name: str, generation: int = 1, *, enabled: bool = True, **source: Any) -> None:
        metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": generation}
        spec = {"function": {"name": "hello"}, "enabled": enabled, **source}
        self.resources.put("Trigger", {"metadata": metadata, "spec": spec})

    def delete_trigger(self, name: str) -> None:
        self.resources.put("Trigger", {"metadata": {"name": name, "namespace": "default"}}, DELETED)

    def announce(self, slots: int, function: str = "hello") -> None:
        """There is an instance with this many slots."""
        ports = list(range(8710, 8710 + slots))
        address = InstanceAddress(
            name=f"{function}-{slots}", function=f"default/{function}", revision="r1", host="127.0.0.1", slots=ports,
            token="t",
        )  # fmt: skip
        self.scaler.tell(Ready(instance=address))

    async def accept(self, *numbers: int, function: str = "hello") -> None:
        """As the gateway does."""
        store = EventStore(self.nats)
        name = function.encode().hex()[:4]
        events = [Event(f"00000000-{name}-4000-8000-{n:012d}", f"default/{function}", b"%d" % n) for n in numbers]
        await asyncio.gather(*(store.accept(event) for event in events))

    async def consumers(self) -> set[str]:
        return {info.name for info in await self.nats.jetstream().consumers_info(EVENTS)}

    async def is_done(self) -> bool:
        return await list_waiting(self.nats) == {}


@contextlib.asynccontextmanager
async def running_house(folder: Path) -> AsyncIterator[House]:
    server = NatsServer(folder, free_port())
    await server.start()
    client = await connect(server.url)
    async with LambdaServer() as lambdas, ScalerServer() as scaler:
        house = House(MemoryResources(), lambdas, scaler, server, client)
        await house.start()
        yield house
        await house.stop()
    await client.close()
    await server.stop()
