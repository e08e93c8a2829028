"""`python -m funclet gateway`: the gateway of a cluster."""

import asyncio
import resource
import signal
import socket

import uvloop

from funclet.adapters import garbage, logs
from funclet.adapters.catalog import Catalog
from funclet.adapters.event_log import EventLog
from funclet.adapters.health import HealthServer, registry_text
from funclet.adapters.kube import KubeResources
from funclet.adapters.metrics import INVOCATIONS
from funclet.adapters.otlp.exporter import open_exporter
from funclet.adapters.resources import Resources
from funclet.adapters.scaler_client import ScalerClient
from funclet.adapters.usage_journal import UsageJournal
from funclet.gateway.role import Gateway
from funclet.gateway.settings import GatewaySettings
from funclet.gateway.supervisor import supervise
from funclet.gateway.usage import UsageReporter


def raise_descriptor_limit() -> None:
    """As many connections as the system lets this process have; many shells' soft limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run(settings: GatewaySettings, resources: Resources) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    catalog = Catalog(resources)
    scaler = ScalerClient(settings.scaler_url, settings.internal_token, settings.name or socket.gethostname())
    event_log = EventLog(settings.nats_url) if settings.nats_url else None
    spans = open_exporter("gateway")
    gateway = Gateway(settings, catalog, scaler, event_log, spans=spans)
    usage = UsageReporter(INVOCATIONS, UsageJournal(settings.usage_journal), settings.nats_url)
    health = HealthServer(settings.metrics_port, registry_text, lambda: gateway.ready, fd=settings.metrics_fd)
    await health.start()
    following = asyncio.create_task(catalog.run())
    await catalog.synced()
    await usage.start()
    if spans is not None:
        await spans.start()
    await gateway.start()
    garbage.settle()
    end = asyncio.create_task(stopped.wait())
    await asyncio.wait((following, end), return_when=asyncio.FIRST_COMPLETED)
    await gateway.stop()
    if spans is not None:
        await spans.stop()
    await usage.stop()
    await health.stop()
    if following.done():
        following.result()
    following.cancel()


async def run_in_cluster(settings: GatewaySettings) -> None:
    """With the resources of the Kubernetes API."""
    await run(settings, KubeResources.in_cluster(settings.watch_namespace))


def main() -> None:
    """Read the environment and run, or look after several that do."""
    settings = GatewaySettings.from_environment()
    logs.configure("gateway", settings.log_level)
    raise_descriptor_limit()
    uvloop.run(supervise(settings) if settings.processes > 1 else run_in_cluster(settings))
