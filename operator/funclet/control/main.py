"""`python -m funclet control`: the role on a cluster."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from nats.aio.client import Client

from funclet.adapters import jetstream, logs
from funclet.adapters.health import HealthServer
from funclet.adapters.kube import KubeResources
from funclet.adapters.packages import PackageStore
from funclet.adapters.sqs import SqsClient
from funclet.adapters.sqs_access import SqsAccess
from funclet.adapters.streams import Streams
from funclet.control.operator import run_kopf
from funclet.control.role import Control
from funclet.control.settings import ControlSettings
from funclet.errors import Unavailable

Answer = TypeVar("Answer")


class LazyPackages:
    """The package store, opened when it is first needed: JetStream may be away when control starts."""

    def __init__(self, connection: Client, replicas: int) -> None:
        self._connection = connection
        self._replicas = replicas
        self._store: PackageStore | None = None

    async def put(self, data: bytes) -> str:
        """Keep a package; returns its SHA-256."""
        return await self._ask(lambda store: store.put(data))

    async def get(self, sha256: str) -> bytes:
        """The package of this digest."""
        return await self._ask(lambda store: store.get(sha256))

    async def has(self, sha256: str) -> bool:
        """Whether it is there."""
        return await self._ask(lambda store: store.has(sha256))

    async def _ask(self, question: Callable[[PackageStore], Awaitable[Answer]]) -> Answer:
        """After a failure the store is opened anew: a JetStream that lost its disk has no bucket any more."""
        if self._store is None:
            self._store = await PackageStore.open(self._connection, self._replicas)
        try:
            return await question(self._store)
        except Unavailable:
            self._store = None
            raise


def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    settings = ControlSettings.from_environment()
    logs.configure("control", settings.log_level)
    logging.getLogger("kopf").setLevel(logging.WARNING)  # a line for each event otherwise, with all of its settings
    asyncio.run(run(settings))


async def run(settings: ControlSettings) -> None:
    """Builds the role with the cluster's adapters and runs it."""
    async with contextlib.AsyncExitStack() as stack:
        resources = KubeResources.in_cluster(settings.watch_namespace)
        stack.push_async_callback(resources.close)
        nats = await jetstream.connect(settings.nats_url, "funclet-control")
        stack.push_async_callback(nats.close)
        packages = LazyPackages(nats, settings.stream_replicas)
        queues = SqsAccess(resources, SqsClient(), settings.region)
        stack.push_async_callback(queues.close)
        control = Control(resources, packages, Streams(nats), queues, run_kopf, settings.watch_namespace)
        health = HealthServer(settings.metrics_port, ready=lambda: control.ready)
        await health.start()
        stack.push_async_callback(health.stop)
        if settings.port is not None:
            await _open_management(stack, settings, settings.port, packages, control)
        await control.run()


async def _open_management(
    stack: contextlib.AsyncExitStack, settings: ControlSettings, port: int, packages: LazyPackages, control: Control
) -> None:
    # botocore takes 8 MiB, which an installation without this API is spared.
    from funclet.adapters.kube_store import KubeStore
    from funclet.adapters.sigv4 import Key
    from funclet.control.management.server import ManagementServer

    store = KubeStore.in_cluster()
    stack.push_async_callback(store.close)
    key = Key(settings.access_key_id, settings.secret_access_key)
    server = ManagementServer(
        store, packages, settings.internal_token, control.reconciler.accounts, region=settings.region, key=key
    )
    await server.start("0.0.0.0", port)
    stack.push_async_callback(server.stop)
