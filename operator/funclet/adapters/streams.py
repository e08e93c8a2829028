"""What control has to know of JetStream streams."""

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from funclet.adapters.jetstream import unavailable_when_unreachable
from funclet.core.resolve import StreamFacts

ANSWER_TIMEOUT_SECONDS = 5.0


class Streams:
    """Looks streams up."""

    def __init__(self, client: Client) -> None:
        self._jetstream = client.jetstream(timeout=ANSWER_TIMEOUT_SECONDS)

    async def find(self, name: str) -> StreamFacts:
        """What there is under this name. Raises Unavailable when JetStream does not say."""
        with unavailable_when_unreachable():
            try:
                info = await self._jetstream.stream_info(name)
            except NotFoundError:
                return StreamFacts(exists=False)
        return StreamFacts(exists=True, subjects=tuple(info.config.subjects or ()))
