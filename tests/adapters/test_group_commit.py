"""Durable writes to a real nats-server that syncs each one: a stream of them shares its syncs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig
from tests.ports import free_port

from funclet.adapters.group_commit import BATCH_MESSAGES, GroupCommit
from funclet.adapters.jetstream import connect
from funclet.adapters.nats_server import NatsServer
from funclet.errors import Unavailable


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(tmp_path, free_port(), sync_always=True)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(server: NatsServer) -> AsyncIterator[Client]:
    client = await connect(server.url)
    await client.jetstream().add_stream(StreamConfig(name="S", subjects=["s.>"], allow_atomic=True))
    yield client
    await client.close()


async def count(client: Client) -> int:
    return (await client.jetstream().stream_info("S")).state.messages


async def test_a_lone_message_is_stored(client: Client) -> None:
    await GroupCommit(client).append("s.one", b"payload", {"A": "b"})
    message = await client.jetstream().get_last_msg("S", "s.one")
    assert (message.data, message.headers) == (b"payload", {"A": "b"})


async def test_many_messages_are_stored_in_their_order_in_few_batches(client: Client) -> None:
    commit = GroupCommit(client)
    total = 2 * BATCH_MESSAGES + 7
    stored = [commit.append(f"s.{number % 3}", str(number).encode(), {"N": str(number)}) for number in range(total)]
    await asyncio.gather(*stored)
    assert await count(client) == total
    jetstream = client.jetstream()
    batches = {(await jetstream.get_msg("S", number)).headers["Nats-Batch-Id"] for number in (2, 500, 999, total - 1)}  # type: ignore[index]
    assert len(batches) <= 3
    for number in (1, 1000, total):
        assert (await jetstream.get_msg("S", number)).data == str(number - 1).encode()


async def test_what_no_stream_takes_is_not_confirmed(client: Client) -> None:
    commit = GroupCommit(client)
    lost = [commit.append("nobody.hears", b"x", {}) for _ in range(5)]
    results = await asyncio.gather(*lost, return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    await commit.append("s.later", b"x", {})


async def test_a_batch_that_is_refused_is_refused_as_a_whole(client: Client) -> None:
    """The sixth message is not of this stream, so the first five are not stored either."""
    commit = GroupCommit(client)
    await commit.append("s.alone", b"", {})
    rest = [commit.append(subject, b"x", {}) for subject in [*["s.a"] * 5, "other.a"]]
    results = await asyncio.gather(*rest, return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    assert await count(client) == 1


async def test_what_is_too_large_for_the_server_is_refused_at_once(client: Client) -> None:
    with pytest.raises(Unavailable, match="max_payload"):
        await GroupCommit(client).append("s.a", b"x" * (client.max_payload + 1), {})


async def test_a_server_that_is_gone_confirms_nothing(client: Client, server: NatsServer) -> None:
    commit = GroupCommit(client)
    await server.stop()
    while client.is_connected:
        await asyncio.sleep(0.01)
    with pytest.raises(Unavailable):
        await commit.append("s.a", b"x", {})
    await server.start()
    while not client.is_connected:
        await asyncio.sleep(0.01)
    await commit.append("s.b", b"x", {})


async def test_what_was_confirmed_survives_a_kill(client: Client, server: NatsServer) -> None:
    commit = GroupCommit(client)
    stored = [commit.append("s.a", str(number).encode(), {}) for number in range(3000)]
    await stored[1500]
    server.kill()
    results = await asyncio.gather(*stored, return_exceptions=True)
    confirmed = sum(result is None for result in results)
    assert confirmed >= 1500
    await server.stop()
    await server.start()
    while not client.is_connected:
        await asyncio.sleep(0.01)
    assert await count(client) >= confirmed
