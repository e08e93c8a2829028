"""Several gateways beside each other: the scaler's real feed, with instances that the test announces."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import httpx
from tests.adapters.gateway_world import TOKEN, Catalog, Handler, Recorder, Slot, echo, make_revision, until
from tests.ports import free_port

from funclet.adapters.scaler_client import ScalerClient
from funclet.core.messages import DemandReport, InstanceAddress, Introduction, Ready, Snapshot
from funclet.core.rendezvous import find_home
from funclet.gateway.peers import Neighbourhood
from funclet.gateway.role import Gateway
from funclet.gateway.settings import GatewaySettings
from funclet.scaler.feed import Feed, Reader
from funclet.scaler.server import Server


class FeedingScaler:
    """The scaler as gateways see it."""

    def __init__(self) -> None:
        self.instances: list[InstanceAddress] = []
        self.reports: list[DemandReport] = []
        self.port = free_port()  # which it gets again after a stop

    async def start(self) -> "FeedingScaler":
        began = asyncio.Event()
        began.set()
        self._feed = Feed(time.monotonic)
        self._server = Server(TOKEN, self._take, self._join, self._feed.leave, began)
        await self._server.start("127.0.0.1", self.port)
        self._watch = asyncio.create_task(self._feed.watch())
        return self

    async def stop(self) -> None:
        self._watch.cancel()
        await self._server.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def gateways(self) -> list[str]:
        """Names of the gateways on the list that are not leaving."""
        return [peer.reporter for peer in self._feed._membership.message.peers if not peer.leaving]

    def announce(self, function: str, *slots: Slot | Recorder) -> str:
        address = InstanceAddress(
            name=f"i{len(self.instances)}", function=f"default/{function}", revision="r1", host="127.0.0.1",
            slots=[slot.port for slot in slots], token="t",
        )  # fmt: skip
        self.instances.append(address)
        self._feed.send(Ready(instance=address))
        return address.name

    def _join(self, reporter: str, introduction: Introduction | None, host: str) -> Reader:
        return self._feed.join(reporter, Snapshot(instances=self.instances), introduction, host)

    def _take(self, report: DemandReport) -> None:
        self.reports.append(report)
        self._feed.hear(report)


class Beside:
    """One of the gateways, with a client."""

    def __init__(self, name: str, scaler: FeedingScaler, catalog: Catalog, **settings: object) -> None:
        values = {
            "internal_token": TOKEN, "scaler_url": scaler.url, "port": 0, "peer_port": 0, "host": "127.0.0.1",
            "shutdown_seconds": 5, **settings,
        }  # fmt: skip
        self.name = name
        self.gateway = Gateway(GatewaySettings.model_validate(values), catalog, ScalerClient(scaler.url, TOKEN, name))

    async def start(self) -> "Beside":
        await self.gateway.start()
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.gateway.port}", timeout=60)
        return self

    async def stop(self) -> None:
        await self.http.aclose()
        if not self.gateway.stopping:
            await self.gateway.stop()

    @property
    def neighbourhood(self) -> Neighbourhood:
        assert self.gateway._neighbourhood is not None
        return self.gateway._neighbourhood

    def knows_instance_of(self, function: str) -> bool:
        """Whether an instance of this function has been announced here."""
        return bool(self.gateway._dispatcher.functions[f"default/{function}"].pool.instances)

    def busy(self, function: str) -> int:
        """Invocations of this function that run or wait here."""
        pool = self.gateway._dispatcher.functions[f"default/{function}"].pool
        return pool.in_flight + len(pool.waiting)

    async def invoke(
        self, function: str, body: bytes = b"{}", *, qualifier: str | None = None, **headers: str
    ) -> httpx.Response:
        path = f"/2015-03-31/functions/{function}/invocations"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        query = {} if qualifier is None else {"Qualifier": qualifier}
        return await self.http.post(path, content=body, headers=named, params=query)


class PeersWorld:
    """The scaler and its gateways."""

    def __init__(self, **settings: object) -> None:
        self.scaler = FeedingScaler()
        self.catalog = Catalog()
        self.gateways: list[Beside] = []
        self.slots: list[Slot | Recorder] = []
        self._settings = settings

    async def start(self, count: int) -> None:
        await self.scaler.start()
        for _ in range(count):
            await self.add()
        await self.agreed()

    async def add(self, **own: object) -> Beside:
        name = f"gateway-{len(self.gateways)}"
        beside = await Beside(name, self.scaler, self.catalog, **self._settings, **own).start()
        self.gateways.append(beside)
        return beside

    async def stop(self) -> None:
        for beside in self.gateways:
            await beside.stop()
        await self.scaler.stop()
        for slot in self.slots:
            await slot.stop()

    async def agreed(self) -> None:
        """Wait until all gateways follow the same list and have told each other so."""

        def agree() -> bool:
            homes = [beside.neighbourhood.homes for beside in self.gateways]
            full = all(len(one.others) == len(self.gateways) - 1 for one in homes)
            return full and len({one.epoch for one in homes}) == 1 and not any(one._awaited for one in homes)

        await until(agree)

    def home_of(self, function: str) -> Beside:
        ids = {beside.neighbourhood.homes.me: beside for beside in self.gateways}
        return ids[find_home(f"default/{function}", ids) or ""]

    def function_at(self, beside: Beside, prefix: str = "f") -> str:
        """A name whose home is this gateway."""
        names = (f"{prefix}{number}" for number in range(1000))
        return next(name for name in names if self.home_of(name) is beside)

    async def function(self, name: str, handler: Handler = echo, slots: int = 1, reserved: int | None = None) -> Slot:
        """A function with one instance; returns its first slot."""
        self.catalog.put(make_revision(name, reserved=reserved, timeout=10))
        own = [await Slot(handler).start() for _ in range(slots)]
        self.slots += own
        self.scaler.announce(name, *own)
        await until(lambda: all(beside.knows_instance_of(name) for beside in self.gateways))
        return own[0]


@contextlib.asynccontextmanager
async def beside_each_other(count: int = 2, **settings: object) -> AsyncIterator[PeersWorld]:
    world = PeersWorld(**settings)
    await world.start(count)
    try:
        yield world
    finally:
        await world.stop()
