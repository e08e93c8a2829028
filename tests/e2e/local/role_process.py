"""One role as a process of its own, with local mode's adapters: `python -m tests.e2e.local.role_process ROLE SETTINGS`.

In a cluster each role is a process of its own, and Kubernetes starts it again when it has died; `funclet local` has
them all in one. SETTINGS is the JSON of `Settings`.
"""

import asyncio
import contextlib
import json
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop
from nats.aio.client import Client

from funclet.adapters import logs
from funclet.adapters.catalog import Catalog
from funclet.adapters.event_log import EventLog
from funclet.adapters.files import FileResources
from funclet.adapters.gateway_client import GatewayClient
from funclet.adapters.instances.processes import ProcessBackend
from funclet.adapters.jetstream import connect
from funclet.adapters.packages import PackageStore
from funclet.adapters.scaler_client import ScalerClient
from funclet.adapters.sqs import SqsClient
from funclet.adapters.sqs_access import SqsAccess
from funclet.adapters.streams import Streams
from funclet.control.reconciler import Reconciler
from funclet.events.role import Events
from funclet.events.settings import EventsSettings
from funclet.gateway.role import Gateway
from funclet.gateway.settings import GatewaySettings
from funclet.local.house import find_agent
from funclet.scaler.role import Scaler
from funclet.scaler.settings import ScalerSettings

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Settings:
    """What all roles must agree on."""

    resources: str
    instances: str
    nats_url: str
    gateway_port: int
    scaler_port: int
    token: str
    secret: str
    stream_replicas: int = 1

    @property
    def gateway_url(self) -> str:
        return f"http://{HOST}:{self.gateway_port}"

    @property
    def scaler_url(self) -> str:
        return f"http://{HOST}:{self.scaler_port}"

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass
class Parts:
    """What every role has."""

    resources: FileResources
    catalog: Catalog
    nats: Client
    packages: PackageStore


@contextlib.asynccontextmanager
async def parts(settings: Settings) -> AsyncIterator[Parts]:
    """Each role reads the files for itself, and all come to the same revisions; so control needs no process here."""
    nats = await connect(settings.nats_url)
    packages = await PackageStore.open(nats, settings.stream_replicas)
    resources = FileResources([Path(settings.resources)])
    catalog = Catalog(resources)
    reconciler = Reconciler(resources, packages, Streams(nats), SqsAccess(resources, SqsClient(), "us-east-1"))
    following = [asyncio.create_task(catalog.run()), asyncio.create_task(reconciler.follow_all())]
    await catalog.synced()
    yield Parts(resources, catalog, nats, packages)
    for task in following:
        task.cancel()


async def run_scaler(settings: Settings, own: Parts) -> None:
    values = ScalerSettings(
        host=HOST, port=settings.scaler_port, internal_token=settings.token, instance_secret=settings.secret,
        warm_pool_size=2,
    )  # fmt: skip
    backend = ProcessBackend(find_agent(), root=Path(settings.instances))
    await Scaler(values, own.catalog, backend, own.packages, own.resources).start()


async def run_gateway(settings: Settings, own: Parts) -> None:
    values = GatewaySettings(
        host=HOST, port=settings.gateway_port, internal_token=settings.token, scaler_url=settings.scaler_url,
        nats_url=settings.nats_url,
    )  # fmt: skip
    scaler = ScalerClient(settings.scaler_url, settings.token, "gateway-0")
    await Gateway(values, own.catalog, scaler, EventLog(settings.nats_url)).start()


async def run_events(settings: Settings, own: Parts) -> None:
    values = EventsSettings(
        internal_token=settings.token, nats_url=settings.nats_url, gateway_url=settings.gateway_url,
        scaler_url=settings.scaler_url, async_retry_seconds=(0.5, 1), stream_replicas=settings.stream_replicas,
    )  # fmt: skip
    gateway = GatewayClient(settings.gateway_url, settings.token)
    scaler = ScalerClient(settings.scaler_url, settings.token, f"events-{uuid.uuid4().hex[:12]}")
    await Events(values, own.catalog, own.nats, gateway, scaler, own.resources).start()


ROLES = {"scaler": run_scaler, "gateway": run_gateway, "events": run_events}


async def run(role: str, settings: Settings) -> None:
    async with parts(settings) as own:
        await ROLES[role](settings, own)
        await asyncio.Event().wait()


if __name__ == "__main__":
    logs.configure(sys.argv[1], "WARNING")
    uvloop.run(run(sys.argv[1], Settings(**json.loads(sys.argv[2]))))
