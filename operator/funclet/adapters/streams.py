"""What control has to know of JetStream streams."""

from typing import Protocol

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from funclet.adapters.jetstream import unavailable_when_unreachable
from funclet.core.resolve import StreamFacts

ANSWER_TIMEOUT_SECONDS = 5.0


class StreamLookup(Protocol):
    """Says what there is under a stream's name."""

    async def find(self, name: str) -> StreamFacts:
        """Raises Unavailable when JetStream does not say."""


class Streams:
    """Asks JetStream."""

    def __init__(self, client: Client) -> None:
        self._jetstream = client.jetstream(timeout=ANSWER_TIMEOUT_SECONDS)

    async def find(self, name: str) -> StreamFacts:
        """What JetStream says of this name now."""
        with unavailable_when_unreachable():
            try:
                info = await self._jetstream.stream_info(name)
            except NotFoundError:
                return StreamFacts(exists=False)
        return StreamFacts(exists=True, subjects=tuple(info.config.subjects or ()))
