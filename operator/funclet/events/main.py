"""`python -m funclet events`: the role on a cluster."""

import asyncio
import contextlib
import signal
import uuid

import uvloop

from funclet.adapters import logs
from funclet.adapters.catalog import Catalog
from funclet.adapters.gateway_client import GatewayClient
from funclet.adapters.health import HealthServer
from funclet.adapters.jetstream import connect
from funclet.adapters.kube import KubeResources
from funclet.adapters.otlp.exporter import open_exporter
from funclet.adapters.scaler_client import ScalerClient
from funclet.events.role import Events
from funclet.events.settings import EventsSettings


def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    settings = EventsSettings.from_environment()
    logs.configure("events", settings.log_level)
    uvloop.run(serve(settings))


async def serve(settings: EventsSettings) -> None:
    """Runs the role until a signal, or until it fails."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    running = asyncio.create_task(run(settings))
    signalled = asyncio.create_task(ended.wait())
    await asyncio.wait({running, signalled}, return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def run(settings: EventsSettings) -> None:
    """Builds the role with the cluster's adapters and follows the catalog, until it is cancelled."""
    async with contextlib.AsyncExitStack() as stack:
        resources = KubeResources.in_cluster(settings.watch_namespace)
        stack.push_async_callback(resources.close)
        catalog = Catalog(resources)
        synced = asyncio.create_task(catalog.synced())
        health = HealthServer(settings.metrics_port, ready=synced.done)
        await health.start()
        stack.push_async_callback(health.stop)
        gateway = GatewayClient(settings.gateway_url, settings.internal_token)
        stack.push_async_callback(gateway.close)
        # A new name at each start: what the process before said of Triggers that are gone must be forgotten.
        scaler = ScalerClient(settings.scaler_url, settings.internal_token, f"events-{uuid.uuid4().hex[:12]}")
        stack.push_async_callback(scaler.close)
        nats = await connect(settings.nats_url, "funclet-events")
        stack.push_async_callback(nats.close)
        spans = open_exporter("events")
        if spans is not None:
            await spans.start()
            stack.push_async_callback(spans.stop)
        events = Events(settings, catalog, nats, gateway, scaler, resources, spans)
        await events.start()
        stack.push_async_callback(events.stop)
        await catalog.run()
