"""Asynchronous invocations that the gateway accepts, each synced to disk before its 202.

Beside it, in the same run and on the same server: the same messages published by a client of its own, pipelined as
nats-py does it, so that the server syncs each; and the same without any sync, which a power failure loses.

Run: python -m benchmarks.event_accept [SECONDS]
"""

import asyncio
import os
import sys
import tempfile
import time

import uvloop
from nats.js.api import StreamConfig

from benchmarks.figure import Budget, Figure, Peer
from benchmarks.load import Tally, Target, closed_loop
from benchmarks.processes import Child, named_gateway
from benchmarks.report import beside_text, value_text
from funclet.adapters.event_streams import StreamPolicy, make_streams
from funclet.adapters.jetstream import connect
from funclet.adapters.nats_server import NatsServer

SECONDS = 5.0
CALLERS = 256
PAYLOAD = b'{"order": "%s"}' % (b"x" * 200)
OUTSTANDING = 256
"""Publishes of the plain client that wait for their confirmation, as many as the gateway has callers."""
RATE_BUDGET = 2000
PER_CORE_BUDGET = 10_000
"""At 100 µs of the gateway's CPU for each event: reading, checking, publishing, answering."""


def measure(seconds: float = SECONDS) -> list[Figure]:
    """Accepted events a second, and for each second of the gateway's CPU."""
    return uvloop.run(_measure(seconds))


async def _measure(seconds: float) -> list[Figure]:
    with tempfile.TemporaryDirectory() as store, tempfile.TemporaryDirectory() as lax_store:
        server, lax = NatsServer(store, sync_always=True), NatsServer(lax_store)
        await server.start()
        await lax.start()
        try:
            tally, cpu_seconds = await accept(server.url, seconds)
            synced, unsynced = await publish(server.url, seconds), await publish(lax.url, seconds)
        finally:
            await server.stop()
            await lax.stop()
    accepted = tally.statuses[202]
    details = {"statuses": {str(status): count for status, count in tally.statuses.items()}}
    peers = [Peer("plain publishes, each synced", synced), Peer("plain publishes, none synced", unsynced)]
    return [
        Figure(
            "event_accept_per_second", accepted / tally.seconds, "events/s", Budget(RATE_BUDGET, at_least=True), peers,
            ratio_budget=Budget(1.5, at_least=True), details=details,
        ),
        Figure("event_accept_per_core", accepted / cpu_seconds, "events/s", Budget(PER_CORE_BUDGET, at_least=True)),
    ]  # fmt: skip


async def accept(nats_url: str, seconds: float) -> tuple[Tally, float]:
    """What the gateway answers to callers without a pause, and the CPU time of its process."""
    client = await connect(nats_url)
    await make_streams(client, StreamPolicy())
    await client.close()
    os.environ["FUNCLET_NATS_URL"] = nats_url
    with named_gateway("t", "hello=9") as gateway:  # nobody is invoked: port 9 discards
        target = event_target(gateway.port)
        await until_accepting(target)
        return await measured(gateway, target, seconds)


async def measured(gateway: Child, target: Target, seconds: float) -> tuple[Tally, float]:
    """The load, and what it took of the gateway's CPU."""
    before = gateway.cpu_seconds
    tally = await closed_loop(target, CALLERS, seconds)
    return tally, gateway.cpu_seconds - before


def event_target(port: int) -> Target:
    """One event for the function `hello`."""
    head = (
        b"POST /2015-03-31/functions/hello/invocations HTTP/1.1\r\nhost: 127.0.0.1\r\nx-amz-invocation-type: Event\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(PAYLOAD)
    )
    return Target("127.0.0.1", port, head + PAYLOAD)


async def until_accepting(target: Target) -> None:
    """The gateway connects to JetStream in the background."""
    async with asyncio.timeout(30):
        while not (await closed_loop(target, 1, 0.05)).statuses[202]:
            pass


async def publish(nats_url: str, seconds: float) -> float:
    """Publishes a second that a stream confirms, so many on their way at a time."""
    client = await connect(nats_url)
    jetstream = client.jetstream(timeout=30)
    await jetstream.add_stream(StreamConfig(name="PLAIN", subjects=["plain"]))
    count, begun = 0, time.monotonic()

    async def repeat() -> None:
        nonlocal count
        while time.monotonic() - begun < seconds:
            await (await jetstream.publish_async("plain", PAYLOAD))
            count += 1

    await asyncio.gather(*(repeat() for _ in range(OUTSTANDING)))
    rate = count / (time.monotonic() - begun)
    await client.close()
    return rate


if __name__ == "__main__":
    figures = measure(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
    for figure in figures:
        print(f"{figure.name}: {value_text(figure)}; {beside_text(figure)}")
    sys.exit(not all(figure.is_within for figure in figures))
