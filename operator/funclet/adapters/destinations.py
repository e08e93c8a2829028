"""Where records and dead letters go: a function, a NATS subject, an SQS queue, an HTTP endpoint."""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import aiohttp

from funclet.adapters.event_store import EventStore
from funclet.adapters.sqs import SqsSender
from funclet.api.event_invoke import Destination
from funclet.core.asynchronous import Event
from funclet.core.qualifiers import AliasRoute, chance_of, qualify, resolve
from funclet.errors import Unavailable

HTTP_TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=5)
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://funclet.dev/destinations")


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a destination gets. `name` is the same whenever it is delivered again."""

    name: str
    namespace: str
    body: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)
    trace_id: str = ""


class Destinations:
    """Delivers parcels, each at least once. Every failure is Unavailable."""

    def __init__(
        self, store: EventStore, functions: Collection[str], aliases: Mapping[str, AliasRoute], region: str
    ) -> None:
        """`functions`: the keys of all that can be invoked."""
        self._store = store
        self._functions = functions
        self._aliases = aliases
        self._sqs = SqsSender(region)
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, destination: Destination, parcel: Parcel) -> None:
        """Returns when the destination has it."""
        if destination.function is not None:
            name, _, qualifier = destination.function.partition(":")
            await self._invoke(f"{parcel.namespace}/{name}", qualifier, parcel)
        elif destination.subject is not None:
            headers = {"Nats-Msg-Id": parcel.name, **parcel.attributes}
            await self._store.publish(destination.subject, parcel.body, headers)
        elif destination.sqs_queue_url is not None:
            await self._sqs.send(destination.sqs_queue_url, parcel.body.decode("utf-8", "replace"), parcel.attributes)
        elif destination.url is not None:
            await self._post(destination.url, parcel)

    async def close(self) -> None:
        """Closes all connections."""
        await self._sqs.close()
        if self._session is not None:
            await self._session.close()

    async def _invoke(self, function: str, qualifier: str, parcel: Parcel) -> None:
        """An event with a name of its own, by which an alias chooses: so it runs once however often it is delivered."""
        named = qualify(function, qualifier or None)
        identity = str(uuid.uuid5(NAMESPACE, f"{parcel.name}/{named}"))
        key = resolve(named, self._aliases, chance_of(identity))
        if key not in self._functions:
            raise Unavailable(f"the function {named} does not exist", reason="FunctionNotFound")
        await self._store.accept(Event(identity, key, parcel.body, trace_id=parcel.trace_id, qualifier=qualifier))

    async def _post(self, url: str, parcel: Parcel) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=HTTP_TIMEOUT)
        headers = {"content-type": "application/json", "x-funclet-delivery-id": parcel.name, **parcel.attributes}
        try:
            async with self._session.post(url, data=parcel.body, headers=headers, allow_redirects=False) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"{url} did not answer: {error!r}", reason="DestinationUnavailable") from error
        if not 200 <= status < 300:
            raise Unavailable(f"{url} answered {status}", reason="DestinationRefused")
