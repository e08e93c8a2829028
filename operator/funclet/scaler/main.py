"""`python -m funclet scaler`: the role on a cluster."""

import asyncio
import os
import signal

import uvloop

from funclet.adapters import garbage, logs
from funclet.adapters.catalog import Catalog
from funclet.adapters.health import HealthServer
from funclet.adapters.instances.pods import PodBackend
from funclet.adapters.jetstream import connect
from funclet.adapters.kube import KubeResources
from funclet.adapters.kube_access import Access, cluster_access, kubeconfig_access
from funclet.adapters.packages import PackageStore
from funclet.core.pods import PodDefaults
from funclet.scaler.role import Scaler
from funclet.scaler.settings import ScalerSettings


def main() -> None:
    """Read the environment and run until SIGTERM."""
    settings = ScalerSettings.from_environment()
    logs.configure("scaler", settings.log_level)
    uvloop.run(_run(settings))


async def _run(settings: ScalerSettings) -> None:
    access, namespace = _access(), settings.watch_namespace
    resources = KubeResources(access, namespace)
    connection = await connect(settings.nats_url)
    defaults = PodDefaults(settings.image_pull_policy, settings.cpu_request_percent, settings.region)
    backend = PodBackend(access, settings.runtime_images, defaults, namespace)
    catalog = Catalog(resources)
    packages = await PackageStore.open(connection, settings.stream_replicas)
    scaler = Scaler(settings, catalog, backend, packages, resources)
    health = HealthServer(settings.metrics_port, ready=lambda: scaler.is_ready)
    await health.start()
    following = asyncio.create_task(catalog.run())
    await scaler.start()
    settling = asyncio.create_task(_settle_when(catalog))
    try:
        await _until_ended(following)
    finally:
        settling.cancel()
        await scaler.stop()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await backend.close()
        await resources.close()
        await connection.close()
        await health.stop()


async def _settle_when(catalog: Catalog) -> None:
    """The functions that are there at the start are most of what stays."""
    await catalog.synced()
    garbage.settle()


def _access() -> Access:
    """A kubeconfig file if there is one, so that the role also runs beside a cluster."""
    if path := os.environ.get("KUBECONFIG"):
        return kubeconfig_access(path)
    return cluster_access()


async def _until_ended(following: asyncio.Task[None]) -> None:
    """Until somebody asks for the end, or the catalog has failed for good: then the pod is started anew."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    waiting = asyncio.create_task(asked.wait())
    done, _ = await asyncio.wait([waiting, following], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if following in done:
        following.result()
