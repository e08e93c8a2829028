"""How Triggers get to their queues: the credentials of their Secret, and what a queue says of itself."""

from typing import Protocol

from funclet.adapters.resources import SecretData
from funclet.adapters.sources.sqs import SqsQueue, observe_queue
from funclet.adapters.sqs import AccessKey, SqsClient, SqsServer
from funclet.api.sqs import SqsSource
from funclet.core.batching import Policy
from funclet.core.sqs_queue import (
    QUEUE_PROBLEMS,
    SECRET_KEYS,
    SECRET_NOT_FOUND,
    TOKEN_KEY,
    QueueFacts,
    QueueProblem,
    SqsPlace,
    place_of,
)
from funclet.errors import Unavailable


class Secrets(Protocol):
    """Where Secrets are read."""

    async def find_secret(self, namespace: str, name: str) -> SecretData | None:
        """The Secret, or None when there is none of that name."""


class QueueLookup(Protocol):
    """Says what there is where a Trigger's queue should be."""

    async def find(self, source: SqsSource, namespace: str) -> QueueFacts | QueueProblem:
        """Raises Unavailable when Secrets cannot be read."""


class SqsAccess:
    """Opens queues. A Secret is read each time, so that a new one counts when the old one is refused."""

    def __init__(self, secrets: Secrets, client: SqsClient, region: str) -> None:
        self._secrets = secrets
        self._client = client
        self._region = region

    async def find(self, source: SqsSource, namespace: str) -> QueueFacts | QueueProblem:
        """What there is where a Trigger says. Raises Unavailable when Secrets cannot be read."""
        place = place_of(source, namespace, self._region)
        try:
            return await observe_queue(self._client, await self._server(place), place)
        except Unavailable as error:
            if error.reason not in QUEUE_PROBLEMS:
                raise
            return QueueProblem(error.reason, f"spec.sqs: {place.url}: {error.message}: it is tried again")

    async def open(self, place: SqsPlace, policy: Policy) -> SqsQueue:
        """The queue, for one Trigger. Raises Unavailable with the reason of what is wrong."""
        server = await self._server(place)
        facts = await observe_queue(self._client, server, place)
        return SqsQueue(self._client, server, place, facts, policy.with_visibility(facts.visibility_seconds))

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.close()

    async def _server(self, place: SqsPlace) -> SqsServer:
        if place.secret is None:
            return SqsServer(place.endpoint, place.region)
        found = await self._secrets.find_secret(place.namespace, place.secret)
        values = {} if found is None else {name: value.decode("utf-8", "replace") for name, value in found.data.items()}
        if found is None or any(not values.get(name) for name in SECRET_KEYS):
            missing = "does not exist" if found is None else f"lacks one of the keys {' and '.join(SECRET_KEYS)}"
            raise Unavailable(f"the Secret {place.secret} {missing}", reason=SECRET_NOT_FOUND)
        key_id, secret = (values[name] for name in SECRET_KEYS)
        return SqsServer(place.endpoint, place.region, AccessKey(key_id, secret, values.get(TOKEN_KEY) or None))
