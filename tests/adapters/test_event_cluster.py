"""Three NATS servers: an event that was confirmed is held by three, and survives any one of them."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerConfig
from tests.adapters.lambda_server import until
from tests.ports import free_port

from funclet.adapters.event_store import EventStore
from funclet.adapters.event_streams import (
    DEAD_LETTERS,
    EVENT_SUBJECT,
    EVENTS,
    RESULTS,
    StreamPolicy,
    make_streams,
    place,
)
from funclet.adapters.jetstream import connect
from funclet.adapters.nats_server import find_binary
from funclet.adapters.sources.jetstream import JetStreamQueue
from funclet.core.asynchronous import Event
from funclet.errors import Unavailable

NAMES = ("one", "two", "three")


@dataclass
class Server:
    """One of the three. It can be killed and started again."""

    name: str
    port: int
    config: Path
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            find_binary(), "-c", str(self.config), stderr=asyncio.subprocess.DEVNULL
        )

    async def kill(self) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[dict[str, Server]]:
    routes = {name: free_port() for name in NAMES}
    urls = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes.values())
    servers = {}
    for name in NAMES:
        port, config = free_port(), tmp_path / f"{name}.conf"
        config.write_text(
            f'server_name: {name}\nlisten: "127.0.0.1:{port}"\njetstream {{ store_dir: "{tmp_path}/{name}" }}\n'
            f'cluster {{ name: c, listen: "127.0.0.1:{routes[name]}", routes: [{urls}] }}\n'
        )
        servers[name] = Server(name, port, config)
        await servers[name].start()
    yield servers
    for server in servers.values():
        await server.kill()


@pytest.fixture
async def client(servers: dict[str, Server]) -> AsyncIterator[Client]:
    client = await connect(f"nats://127.0.0.1:{servers['one'].port}")

    async def made() -> bool:
        try:
            await make_streams(client, StreamPolicy(replicas=3))
        except Unavailable:  # no leader yet
            return False
        return True

    await until(made)
    yield client
    await client.close()


async def find_leader(client: Client) -> str:
    info = await client.jetstream().stream_info(EVENTS)
    assert info.cluster is not None
    return info.cluster.leader or ""


async def test_each_stream_is_held_by_three_servers(client: Client) -> None:
    for stream in (EVENTS, RESULTS, DEAD_LETTERS):
        info = await client.jetstream().stream_info(stream)
        assert info.config.num_replicas == 3
        assert info.cluster is not None
        assert {info.cluster.leader, *(peer.name for peer in info.cluster.replicas or [])} == set(NAMES)


async def test_what_was_confirmed_survives_the_leaders_death(client: Client, servers: dict[str, Server]) -> None:
    store = EventStore(client)
    confirmed: list[int] = []

    async def send(first: int) -> None:
        for number in itertools.count(first):
            request_id = f"00000000-0000-4000-8000-{number:012d}"
            try:
                await store.accept(Event(request_id, "default/hello", b"%d" % number))
            except Unavailable:
                await asyncio.sleep(0.05)
            else:
                confirmed.append(number)

    sending = [asyncio.create_task(send(1_000_000 * n)) for n in range(4)]
    await until(lambda: len(confirmed) > 300)
    await servers[await find_leader(client)].kill()
    before = len(confirmed)
    await until(lambda: len(confirmed) > before + 300)  # two of three go on
    for task in sending:
        task.cancel()
    await asyncio.wait(sending)

    async def held() -> set[int]:
        jetstream = client.jetstream()
        state = (await jetstream.stream_info(EVENTS)).state
        messages = [await jetstream.get_msg(EVENTS, n) for n in range(state.first_seq, state.last_seq + 1)]
        return {int(message.data or b"-1") for message in messages}

    assert set(confirmed) <= await held()


async def test_a_fetch_takes_all_that_it_is_sent(client: Client) -> None:
    """The server's word that the batch is complete comes before messages that the other servers have yet to note."""
    store = EventStore(client)
    events = [Event(f"00000000-0000-4000-8000-{n:012d}", "default/hello", b"%d" % n) for n in range(100)]
    await asyncio.gather(*(store.accept(event) for event in events))
    subject = place(EVENT_SUBJECT, "default/hello")
    config = ConsumerConfig(name="worker", filter_subject=subject, ack_wait=600, max_ack_pending=-1)
    queue = await JetStreamQueue.open_consumer(client, EVENTS, config)
    taken: list[bytes] = []

    async def all_taken() -> bool:
        messages = await queue.fetch(30, 0, 1 << 20)
        await queue.acknowledge([message.receipt for message in messages])
        taken.extend(message.data for message in messages)
        return len(taken) >= len(events)

    await until(all_taken)  # what a fetch loses comes again after ten minutes
    assert sorted(taken) == sorted(event.payload for event in events)


async def test_a_consumer_may_be_asked_as_soon_as_it_is_made(client: Client, servers: dict[str, Server]) -> None:
    """The answer that it is made may overtake the word to the other servers of where it is."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [client]
        for name in NAMES[1:]:
            clients.append(await connect(f"nats://127.0.0.1:{servers[name].port}"))
            stack.push_async_callback(clients[-1].close)
        for number in range(60):
            config = ConsumerConfig(name=f"worker-{number}", filter_subject=place(EVENT_SUBJECT, f"default/f{number}"))
            queue = await JetStreamQueue.open_consumer(clients[number % 3], EVENTS, config)
            assert await queue.fetch(30, 0, 1 << 20) == []


async def test_a_consumer_that_was_deleted_is_told_of(client: Client) -> None:
    config = ConsumerConfig(name="worker", filter_subject=place(EVENT_SUBJECT, "default/hello"))
    queue = await JetStreamQueue.open_consumer(client, EVENTS, config)
    await client.jetstream().delete_consumer(EVENTS, "worker")

    async def told() -> bool:
        try:
            await queue.fetch(30, 0, 1 << 20)
        except Unavailable as error:
            return error.reason == "ConsumerMissing"
        return False

    await until(told)  # its leader may not know yet
