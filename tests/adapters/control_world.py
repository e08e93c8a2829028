"""Control over YAML files and a real package store, as tests see it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from funclet.adapters import jetstream
from funclet.adapters.catalog import Catalog
from funclet.adapters.files import FileResources
from funclet.adapters.packages import PackageStore
from funclet.adapters.sqs import SqsClient
from funclet.adapters.sqs_access import SqsAccess
from funclet.adapters.streams import Streams
from funclet.control.reconciler import Reconciler


class World:
    """A folder of resources with control at work on it."""

    def __init__(self, folder: Path, resources: FileResources, packages: PackageStore, client: Client) -> None:
        self.client = client
        self.folder = folder
        self.resources = resources
        self.packages = packages
        self.catalog = Catalog(resources)
        self.statuses: dict[tuple[str, str], dict[str, Any]] = {}

    def write(self, kind: str, name: str, **content: Any) -> None:
        """JSON is YAML."""
        resource = {"apiVersion": "funclet.dev/v1", "kind": kind, "metadata": {"name": name}, **content}
        (self.folder / f"{kind}-{name}.yaml").write_text(json.dumps(resource))

    def function(self, name: str, code: dict[str, Any], **spec: Any) -> None:
        self.write("Function", name, spec={"runtime": "python3.13", "handler": "index.h", "code": code, **spec})

    def trigger(self, name: str, function: str, path: str) -> None:
        self.write("Trigger", name, spec={"function": {"name": function}, "http": {"path": path}})

    async def observe(self, kind: str) -> None:
        async for event in self.resources.watch(kind):
            if event.object:
                self.statuses[kind, event.object["metadata"]["name"]] = event.object.get("status", {})

    async def reason(self, kind: str, name: str, expected: str) -> str:
        """Wait for this reason, and return the condition's message."""
        seen: Any = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                while True:
                    conditions = self.statuses.get((kind, name), {}).get("conditions", [])
                    seen = conditions[0] if conditions else None
                    if seen and seen["reason"] == expected:
                        return str(seen["message"])
                    await asyncio.sleep(0.01)
        raise AssertionError(f"{kind}/{name} is not {expected} but {seen}")


@contextlib.asynccontextmanager
async def running(folder: Path, nats_url: str) -> AsyncIterator[World]:
    """Control at work on this folder."""
    connection = await jetstream.connect(nats_url)
    packages = await PackageStore.open(connection)
    resources = FileResources([folder])
    world = World(folder, resources, packages, connection)
    queues = SqsAccess(resources, SqsClient(), "us-east-1")
    reconciler = Reconciler(resources, packages, Streams(connection), queues, directories=True)
    observers = [world.observe(kind) for kind in ("Function", "Version", "Alias", "Trigger")]
    tasks = [asyncio.ensure_future(part) for part in (reconciler.follow_all(), world.catalog.run(), *observers)]
    yield world
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await queues.close()
    await connection.close()
