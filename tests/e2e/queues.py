"""Streams as a test sees them: made, filled and counted, one connection a call."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import nats
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

T = TypeVar("T")

WITNESS = '''
import os, socket
from urllib.parse import urlsplit

def tell(subjects):
    """Publish an empty message to each subject, by NATS' own protocol; returns when the server has them all."""
    address = urlsplit(os.environ["NATS_URL"])
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        lines = connection.makefile("rb")
        lines.readline()
        publish = "".join(f"PUB {subject} 0\\r\\n\\r\\n" for subject in subjects)
        connection.sendall(f'CONNECT {{"verbose": false}}\\r\\n{publish}PING\\r\\n'.encode())
        while lines.readline().strip() != b"PONG":
            pass
'''
"""Python text for handlers: lets them say to a stream what they have seen, whatever becomes of their answer."""

PICKY = (
    WITNESS
    + """
import json

def handler(event, context):
    bodies = {record["messageId"]: json.loads(record["body"])["id"] for record in event["Records"]}
    tell(f"{os.environ['SEEN']}.{number}" for number in bodies.values())
    return {"batchItemFailures": [{"itemIdentifier": name} for name, number in bodies.items() if number == 7]}
"""
)
"""Fails the message 7, and no other."""


@dataclass(frozen=True)
class Depth:
    """What one consumer has left to do."""

    pending: int
    unacknowledged: int


class Queues:
    """The JetStream of a world."""

    def __init__(self, url: str) -> None:
        self._url = url

    def make(self, stream: str, *subjects: str) -> None:
        """A stream in memory."""
        config = StreamConfig(name=stream, subjects=list(subjects), storage="memory")  # type: ignore[arg-type]
        self._do(lambda jetstream: jetstream.add_stream(config))

    def delete(self, stream: str) -> None:
        async def delete(jetstream: JetStreamContext) -> None:
            try:
                await jetstream.delete_stream(stream)
            except NotFoundError:
                return

        self._do(delete)

    def publish(self, subject: str, messages: Iterable[Any], headers: dict[str, str] | None = None) -> None:
        """Returns when the stream has stored them all."""

        async def publish(jetstream: JetStreamContext) -> None:
            for future in [
                await jetstream.publish_async(subject, json.dumps(message).encode(), headers=headers)
                for message in messages
            ]:
                await future

        self._do(publish)

    def seen(self, stream: str) -> dict[str, int]:
        """How many messages the stream holds of each subject."""

        async def seen(jetstream: JetStreamContext) -> dict[str, int]:
            info = await jetstream.stream_info(stream, subjects_filter=">")
            return dict(info.state.subjects or {})

        return self._do(seen)

    def depths(self, stream: str) -> list[Depth]:
        """Of each consumer."""

        async def depths(jetstream: JetStreamContext) -> list[Depth]:
            infos = await jetstream.consumers_info(stream)
            return [Depth(info.num_pending or 0, info.num_ack_pending or 0) for info in infos]

        return self._do(depths)

    def _do(self, work: Callable[[JetStreamContext], Awaitable[T]]) -> T:
        async def connected() -> T:
            client = await nats.connect(self._url)
            try:
                return await work(client.jetstream(timeout=60))
            finally:
                await client.close()

        return asyncio.run(connected())
