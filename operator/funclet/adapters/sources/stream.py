"""A JetStream stream as the source of a Trigger."""

import contextlib
from dataclasses import dataclass
from typing import Self

from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from funclet.adapters.sources.jetstream import JetStreamQueue
from funclet.core.batching import Policy
from funclet.core.sqs_event import Queue
from funclet.errors import Unavailable


@dataclass(frozen=True, slots=True)
class StreamPlace:
    """Where a Trigger's messages are: subjects of a stream, and the consumer that is the Trigger's own."""

    stream: str
    subject: str
    consumer: str
    origin: Queue

    @property
    def name(self) -> str:
        """What spans call it."""
        return self.subject

    @property
    def system(self) -> str:
        """OpenTelemetry's name of where it is."""
        return "nats"


class StreamSource(JetStreamQueue):
    """The consumer of a Trigger."""

    takes_first = False
    counts_taken = True
    policy: Policy
    origin: Queue

    @classmethod
    async def open(cls, client: Client, place: StreamPlace, policy: Policy) -> Self:
        """Makes the consumer with this policy, or brings the one that is there to it.

        Unavailable, with the reason StreamNotFound when there is no such stream.
        """
        config = ConsumerConfig(
            name=place.consumer,
            filter_subject=place.subject,
            ack_wait=policy.ack_wait_seconds,
            max_ack_pending=policy.max_ack_pending,
        )
        opened = await cls.open_consumer(client, place.stream, config)
        opened.policy, opened.origin = policy, place.origin
        return opened

    @property
    def dead_letters(self) -> Self:
        """Those who give messages up ask here."""
        return self

    async def close(self) -> None:
        """Listens no more."""
        with contextlib.suppress(Unavailable):
            await self.disarm()
