"""The package store on a real JetStream."""

import asyncio
import hashlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from tests.ports import free_port

from funclet.adapters.jetstream import connect
from funclet.adapters.nats_server import NatsServer
from funclet.adapters.packages import STREAM, PackageStore
from funclet.errors import Unavailable


@pytest.fixture
async def connection(nats_url: str) -> AsyncIterator[Client]:
    client = await connect(nats_url)
    yield client
    await client.close()


async def test_a_package_comes_back_as_it_went_in(connection: Client) -> None:
    store = await PackageStore.open(connection)
    data = os.urandom(300_000)  # three chunks
    digest = await store.put(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert await store.has(digest)
    assert await store.get(digest) == data


async def test_an_empty_package_is_a_package(connection: Client) -> None:
    store = await PackageStore.open(connection)
    assert await store.get(await store.put(b"")) == b""


async def test_a_package_is_stored_once(connection: Client) -> None:
    store = await PackageStore.open(connection)
    data = os.urandom(1000)
    await store.put(data)
    before = (await connection.jetstream().stream_info(STREAM)).state.last_seq
    await store.put(data)
    assert (await connection.jetstream().stream_info(STREAM)).state.last_seq == before


async def test_a_missing_package_says_so(connection: Client) -> None:
    store = await PackageStore.open(connection)
    assert not await store.has("0" * 64)
    with pytest.raises(Unavailable, match="not in the store") as raised:
        await store.get("0" * 64)
    assert raised.value.reason == "PackageNotFound"


async def test_packages_are_fetched_as_often_as_is_needed(connection: Client) -> None:
    """A server makes no more than a thousand consumers of a stream in a short time."""
    store = await PackageStore.open(connection)
    data = os.urandom(200_000)  # two chunks
    digest = await store.put(data)
    for _ in range(11):
        assert set(await asyncio.gather(*(store.get(digest) for _ in range(100)))) == {data}
    assert (await connection.jetstream().stream_info(STREAM)).state.consumer_count == 0


async def test_packages_outlive_the_server(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, free_port())
    await server.start()
    client = await connect(server.url)
    digest = await (await PackageStore.open(client)).put(b"code")
    await server.stop()
    await server.start()
    store = await PackageStore.open(client)
    assert await store.get(digest) == b"code"
    await client.close()
    await server.stop()


async def test_a_server_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys; from funclet.adapters.nats_server import NatsServer\n"
        "async def main():\n"
        "    server = NatsServer(sys.argv[1]); await server.start(); print(server.url, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "operator"},
    )
    assert parent.stdout is not None
    port = int((await parent.stdout.readline()).decode().strip().rpartition(":")[2])
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(60):
        while _listens(port):
            await asyncio.sleep(0.01)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
