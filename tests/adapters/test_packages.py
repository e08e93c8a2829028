"""The package store on a real JetStream."""

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from funclet.adapters.jetstream import connect
from funclet.adapters.nats_server import NatsServer
from funclet.adapters.packages import BUCKET, PackageStore
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
    before = (await connection.jetstream().stream_info(f"OBJ_{BUCKET}")).state.last_seq
    await store.put(data)
    assert (await connection.jetstream().stream_info(f"OBJ_{BUCKET}")).state.last_seq == before


async def test_a_missing_package_says_so(connection: Client) -> None:
    store = await PackageStore.open(connection)
    assert not await store.has("0" * 64)
    with pytest.raises(Unavailable, match="not in the store") as raised:
        await store.get("0" * 64)
    assert raised.value.reason == "PackageNotFound"


async def test_packages_outlive_the_server(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    await server.start()
    client = await connect(server.url)
    digest = await (await PackageStore.open(client)).put(b"code")
    await server.stop()
    await server.start()
    store = await PackageStore.open(client)
    assert await store.get(digest) == b"code"
    await client.close()
    await server.stop()
