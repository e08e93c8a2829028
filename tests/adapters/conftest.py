"""Real servers for the adapter tests, started once for all of them."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop

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
