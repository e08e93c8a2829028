"""`funclet local`: the cluster's roles in one process, with processes for pods and YAML files for the Kubernetes API.

The roles speak to each other over loopback exactly as they do in a cluster, so what works here works there.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from funclet.adapters import jetstream
from funclet.adapters.catalog import Catalog
from funclet.adapters.event_log import EventLog
from funclet.adapters.file_store import FileStore
from funclet.adapters.files import FileResources
from funclet.adapters.gateway_client import GatewayClient
from funclet.adapters.health import HealthServer
from funclet.adapters.instances import machine_runtimes
from funclet.adapters.instances.processes import ProcessBackend
from funclet.adapters.metrics import INVOCATIONS
from funclet.adapters.nats_server import NatsServer
from funclet.adapters.otlp.exporter import SpanExporter, open_exporter
from funclet.adapters.packages import PackageStore
from funclet.adapters.scaler_client import ScalerClient
from funclet.adapters.sqs import SqsClient
from funclet.adapters.sqs_access import SqsAccess
from funclet.adapters.usage_journal import UsageJournal
from funclet.control.management.server import ManagementServer
from funclet.control.reconciler import Reconciler
from funclet.core.asynchronous import RETRY_SECONDS
from funclet.events.role import Events
from funclet.events.settings import EventsSettings
from funclet.gateway.role import Gateway
from funclet.gateway.settings import GatewaySettings
from funclet.gateway.usage import UsageReporter
from funclet.local.report import Report
from funclet.local.streams import StreamKeeper
from funclet.scaler.role import Scaler
from funclet.scaler.settings import ScalerSettings

HOST = "127.0.0.1"
REGION = "us-east-1"
INSTANCES_FOLDER = "/var/tmp"  # noqa: S108
"""Where instances have their code: not below /tmp, where functions may write."""


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """What the command line says."""

    paths: list[Path]
    port: int = 8080
    """0 takes a free one."""
    nats_url: str | None = None
    """None: a server of our own, whose store is gone with it."""
    pool_size: int = 1
    management: bool = True
    """Whether Lambda's management API is served."""
    writable: tuple[Path, ...] = ()
    """Folders of this machine in which functions may write, beside /tmp."""
    async_retry_seconds: tuple[float, float] = RETRY_SECONDS
    """When an event that failed is tried again, after its first attempt and its second."""


def find_agent() -> Path:
    """The agent's folder: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_agent" / "funclet_agent"
    return installed if installed.exists() else package.parent.parent / "runtime-image" / "funclet_agent"


async def run(settings: LocalSettings) -> None:
    """Run until SIGINT or SIGTERM, then end all in order. Raises FuncletError or OSError when it cannot start."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    async with contextlib.AsyncExitStack() as house:
        await _furnish(house, settings)
        await stopped.wait()


def _temporary_folder(house: contextlib.AsyncExitStack, place: str | None = None) -> Path:
    """One that goes with the house; in the usual place where that one is not to be had."""
    usable = place if place and os.access(place, os.W_OK) else None
    made = tempfile.TemporaryDirectory(prefix="funclet-", dir=usable, ignore_cleanup_errors=True)
    return Path(house.enter_context(made))


async def _furnish(house: contextlib.AsyncExitStack, settings: LocalSettings) -> None:
    """Start every role, the ones that others need first; the stack stops them the other way round."""
    report = Report()
    token = secrets.token_hex(16)
    folder = _temporary_folder(house)

    nats_url = settings.nats_url or await _start_nats(house, folder / "jetstream")
    nats = await jetstream.connect(nats_url, "funclet-local")
    house.push_async_callback(nats.close)
    packages = await PackageStore.open(nats)

    made = folder / "resources"
    made.mkdir()
    resources = FileResources([*settings.paths, made], on_problem=report.problem)
    catalog = Catalog(resources)
    report.follow(catalog)
    streams = StreamKeeper(nats, report)
    streams.follow(catalog)
    find_problem = machine_runtimes.find_problem
    queues = SqsAccess(resources, SqsClient(), REGION)
    house.push_async_callback(queues.close)
    reconciler = Reconciler(resources, packages, streams, queues, directories=True, find_runtime_problem=find_problem)

    instances = _temporary_folder(house, INSTANCES_FOLDER)
    backend = ProcessBackend(find_agent(), on_log=report.log_line, root=instances, writable=settings.writable)
    house.push_async_callback(backend.close)
    scaler = Scaler(
        ScalerSettings(
            host=HOST,
            port=0,
            internal_token=token,
            instance_secret=secrets.token_hex(32),
            warm_pool_size=settings.pool_size,
        ),
        catalog,
        backend,
        packages,
        resources,
    )
    await _start(house, scaler.start, scaler.stop)

    scaler_url = f"http://{HOST}:{scaler.port}"
    gateway_feed = _scaler_client(house, scaler_url, token, "gateway-local")
    control_url = None
    if settings.management:
        management = ManagementServer(FileStore(resources, made), packages, token, reconciler.accounts)
        await _start(house, partial(management.start, HOST, 0), management.stop)
        control_url = f"http://{HOST}:{management.port}"
    gateway_settings = GatewaySettings(
        host=HOST,
        port=settings.port,
        internal_token=token,
        scaler_url=scaler_url,
        control_url=control_url,
        nats_url=nats_url,
    )
    spans = await _open_exporter(house, "gateway")
    gateway = Gateway(gateway_settings, catalog, gateway_feed, EventLog(nats_url), spans=spans)
    usage = UsageReporter(INVOCATIONS, UsageJournal(folder / "usage"), nats_url)
    await _start(house, usage.start, usage.stop)
    await _start(house, gateway.start, gateway.stop)

    url = f"http://{HOST}:{gateway.port}"
    invoker = GatewayClient(url, token)
    house.push_async_callback(invoker.close)
    events_feed = _scaler_client(house, scaler_url, token, "events-local")
    events_settings = EventsSettings(
        internal_token=token,
        nats_url=nats_url,
        gateway_url=url,
        scaler_url=scaler_url,
        async_retry_seconds=settings.async_retry_seconds,
    )
    exporter = await _open_exporter(house, "events")
    events = Events(events_settings, catalog, nats, invoker, events_feed, resources, exporter)
    await _start(house, events.start, events.stop)

    health = HealthServer(0, host=HOST)
    await _start(house, health.start, health.stop)

    _in_background(house, report.follow_refusals(resources))
    for kind in ("Version", "Alias"):
        _in_background(house, report.follow_conditions(resources, kind))
    _in_background(house, catalog.run())
    _in_background(house, reconciler.follow_all())
    await catalog.synced()
    print(f"Funclet is listening on {url}", flush=True)
    print(f"JetStream is at {nats_url}", flush=True)
    print(f"Metrics are at http://{HOST}:{health.port}/metrics", flush=True)


async def _open_exporter(house: contextlib.AsyncExitStack, role: str) -> SpanExporter | None:
    exporter = open_exporter(role)
    if exporter is not None:
        await _start(house, exporter.start, exporter.stop)
    return exporter


async def _start_nats(house: contextlib.AsyncExitStack, store: Path) -> str:
    server = NatsServer(store)
    await _start(house, server.start, server.stop)
    return server.url


def _scaler_client(house: contextlib.AsyncExitStack, url: str, token: str, reporter: str) -> ScalerClient:
    client = ScalerClient(url, token, reporter)
    house.push_async_callback(client.close)
    return client


async def _start(
    house: contextlib.AsyncExitStack, start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]
) -> None:
    await start()
    house.push_async_callback(stop)


def _in_background(house: contextlib.AsyncExitStack, work: Awaitable[None]) -> None:
    task = asyncio.ensure_future(work)

    async def end() -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    house.push_async_callback(end)
