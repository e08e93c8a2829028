"""Real servers for the adapter tests, started once for all of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop
from nats.aio.client import Client
from tests.ports import free_port

from funclet.adapters.event_streams import StreamPolicy, make_streams
from funclet.adapters.jetstream import connect
from funclet.adapters.nats_server import NatsServer


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of production: every role's but control's, where kopf chooses."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real nats-server with JetStream, its store in a temporary folder."""
    server = NatsServer(tmp_path_factory.mktemp("jetstream"))
    with asyncio.Runner() as runner:
        runner.run(server.start())
        yield server.url
        runner.run(server.stop())


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A server of this test alone, which may be stopped and started again."""
    server = NatsServer(tmp_path / "jetstream", free_port())
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(server: NatsServer) -> AsyncIterator[Client]:
    """A client of it, with Funclet's streams made."""
    client = await connect(server.url)
    await make_streams(client, StreamPolicy())
    yield client
    await client.close()
