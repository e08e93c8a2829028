"""What the scaler's tests share: functions in memory, a gateway's view of the feed, and a fleet of real agents."""

import asyncio
import io
import json
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp

from funclet.adapters.catalog import Catalog
from funclet.adapters.instances.processes import ProcessBackend
from funclet.adapters.resources import DELETED, SYNCED, UPSERTED, ConfigMapData, Owner, ResourceEvent, SecretData
from funclet.api.pod import PodSettings
from funclet.core.instances import InstanceRequest
from funclet.core.messages import FEED, DemandReport, FeedMessage, FunctionDemand, InstanceAddress, InstanceUse
from funclet.core.tokens import token_digest
from funclet.errors import Unavailable
from funclet.scaler.role import Scaler
from funclet.scaler.settings import ScalerSettings

AGENT = Path(__file__).parents[2] / "runtime-image" / "funclet_agent"
TOKEN = "internal"
DEADLINE_SECONDS = 60.0

HELLO = "import os\ndef handler(event, context):\n    return [event, os.getpid(), os.environ.get('WORD')]\n"


def package(text: str) -> bytes:
    """A code package with one module, `index`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.py", text)
    return buffer.getvalue()


def metadata(name: str) -> dict[str, str]:
    """Of a Function in the namespace `default`."""
    return {"name": name, "namespace": "default", "uid": "u-1"}


def function(name: str, revision: str, data: bytes, **spec: Any) -> dict[str, Any]:
    """A Function with this active revision, as control leaves it."""
    active = {
        "revision": revision,
        "generation": 1,
        "codeSha256": sha256(data).hexdigest(),
        "codeSize": len(data),
        "spec": {"runtime": "python3.11", "handler": "index.handler", **spec},
    }
    return {"metadata": metadata(name), "spec": {}, "status": {"active": active}}


def generic_request(name: str) -> InstanceRequest:
    """A generic instance, whose tokens are `specialise` and `invoke`."""
    return InstanceRequest(
        name=name,
        namespace="default",
        runtime=f"python3.{sys.version_info.minor}",
        memory_mib=128,
        ephemeral_storage_mib=512,
        timeout_seconds=3,
        specialise_token_sha256=token_digest("specialise"),
        invoke_token_sha256=token_digest("invoke"),
        labels={"funclet.dev/state": "generic"},
        annotations={},
        pod=PodSettings(),
    )


class MemoryPackages:
    """A package store in memory."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        digest = sha256(data).hexdigest()
        self.data[digest] = data
        return digest

    async def get(self, sha256: str) -> bytes:
        if sha256 not in self.data:
            raise Unavailable("there is no such package", reason="PackageNotFound")
        return self.data[sha256]


class MemoryResources:
    """Resources in memory: `objects` are there from the start, `events` are what happens then."""

    def __init__(self, objects: tuple[dict[str, Any], ...] = ()) -> None:
        self.objects = objects
        self.events: asyncio.Queue[ResourceEvent] = asyncio.Queue()
        self.secrets: dict[tuple[str, str], SecretData] = {}

    async def watch(self, kind: str, *, label_selector: str = "") -> AsyncIterator[ResourceEvent]:
        for item in self.objects if kind == "Function" else ():
            yield ResourceEvent(UPSERTED, item)
        yield ResourceEvent(SYNCED)
        if kind != "Function":
            await asyncio.Event().wait()
        while True:
            yield await self.events.get()

    async def patch_status(
        self, kind: str, namespace: str, name: str, status: dict[str, Any], *, owner: str = "control"
    ) -> None:
        raise AssertionError("the scaler writes no status")

    async def find_generation(self, kind: str, namespace: str, name: str) -> int | None:
        raise AssertionError("the scaler publishes nothing")

    async def set_owner(self, kind: str, namespace: str, name: str, uid: str, owner: Owner) -> None:
        raise AssertionError("the scaler publishes nothing")

    async def hold(self, kind: str, namespace: str, name: str, uid: str, *, held: bool) -> None:
        raise AssertionError("the scaler publishes nothing")

    async def find_secret(self, namespace: str, name: str) -> SecretData | None:
        return self.secrets.get((namespace, name))

    async def find_config_map(self, namespace: str, name: str) -> ConfigMapData | None:
        return None


@dataclass
class World:
    """A scaler with real agents, and one gateway that looks on."""

    scaler: Scaler
    resources: MemoryResources
    packages: MemoryPackages
    backend: ProcessBackend
    session: aiohttp.ClientSession
    messages: list[FeedMessage] = field(default_factory=list)
    ready: dict[str, InstanceAddress] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def apply(self, name: str, revision: str, data: bytes = package(HELLO), **spec: Any) -> None:
        """Make this the function's active revision."""
        self.packages.put(data)
        self.resources.events.put_nowait(ResourceEvent(UPSERTED, function(name, revision, data, **spec)))

    def delete(self, name: str) -> None:
        """Take the function away."""
        self.resources.events.put_nowait(ResourceEvent(DELETED, {"metadata": metadata(name)}))

    async def report(
        self, name: str = "", reporter: str = "gateway", drained: tuple[str, ...] = (), **demand: Any
    ) -> None:
        """Report demand as a gateway does."""
        functions = {f"default/{name}": FunctionDemand(**demand)} if name else {}
        report = DemandReport(reporter=reporter, functions=functions, drained=list(drained))
        async with self.session.post("/v1/demand", data=report.model_dump_json()) as answer:
            assert answer.status == 204, await answer.text()

    @asynccontextmanager
    async def reporting(self, *names: str, every_seconds: float = 0.05, **demand: Any) -> AsyncIterator[None]:
        """Report this of each function again and again, as a gateway does: a scaler forgets who is silent."""

        async def report() -> None:
            while True:
                for name in names:
                    await self.report(name, **demand)
                await asyncio.sleep(every_seconds)

        reporting = asyncio.create_task(report())
        try:
            yield
        finally:
            reporting.cancel()
            await asyncio.wait([reporting])

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until a condition holds, looking at it whenever the feed has said something."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not (value := condition()):
                self.changed.clear()
                await self.changed.wait()
        return value

    async def until_ready(self, revision: str, count: int = 1) -> list[InstanceAddress]:
        """Wait for so many instances of a revision."""
        await self.until(lambda: sum(a.revision == revision for a in self.ready.values()) >= count)
        return [address for address in self.ready.values() if address.revision == revision]

    async def invoke(self, address: InstanceAddress, payload: Any) -> Any:
        """Invoke an instance directly, as a gateway does."""
        headers = {
            "x-funclet-token": address.token,
            "lambda-runtime-aws-request-id": "r-1",
            "lambda-runtime-trace-id": "t",
        }
        url = f"http://{address.host}:{address.slots[0]}/invoke"
        async with self.session.post(url, data=json.dumps(payload), headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return json.loads(await answer.read())

    async def follow(self) -> None:
        """Read the feed, for ever."""
        async with self.session.get("/v1/instances", params={"reporter": "gateway"}) as answer:
            async for line in answer.content:
                self._take(FEED.validate_json(line))

    def idle_use(self, seconds: float) -> dict[str, InstanceUse]:
        """All instances, idle for so long."""
        return {name: InstanceUse(busy=0, idle_seconds=seconds) for name in self.ready}

    def _take(self, message: FeedMessage) -> None:
        self.messages.append(message)
        if message.type == "SNAPSHOT":
            self.ready = {address.name: address for address in message.instances}
        elif message.type == "READY":
            self.ready[message.instance.name] = message.instance
        elif message.type in ("DRAINING", "GONE"):
            self.ready.pop(message.instance, None)
        self.changed.set()


@asynccontextmanager
async def running_scaler(
    tmp_path: Path,
    *,
    pool_size: int = 1,
    backend: ProcessBackend | None = None,
    objects: tuple[dict[str, Any], ...] = (),
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[World]:
    """A scaler that has begun, with a gateway connected."""
    resources, packages = MemoryResources(objects), MemoryPackages()
    backend = backend or ProcessBackend(AGENT, root=tmp_path)
    settings = ScalerSettings(
        internal_token=TOKEN, instance_secret="secret", host="127.0.0.1", port=0, warm_pool_size=pool_size
    )
    catalog = Catalog(resources)
    scaler = Scaler(settings, catalog, backend, packages, resources, clock=clock)
    following = asyncio.create_task(catalog.run())
    await scaler.start()
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{scaler.port}", headers=headers) as session:
        world = World(scaler, resources, packages, backend, session)
        reading = asyncio.create_task(world.follow())
        try:
            await world.until(lambda: world.messages)
            yield world
        finally:
            for task in (reading, following):
                task.cancel()
            await asyncio.gather(reading, following, return_exceptions=True)
            await scaler.stop()
