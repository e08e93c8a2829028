"""Real servers for the adapter tests, started once for all of them."""

import asyncio
from collections.abc import Iterator

import pytest

from funclet.adapters.nats_server import NatsServer


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real nats-server with JetStream, its store in a temporary folder."""
    server = NatsServer(tmp_path_factory.mktemp("jetstream"))
    with asyncio.Runner() as runner:
        runner.run(server.start())
        yield server.url
        runner.run(server.stop())
