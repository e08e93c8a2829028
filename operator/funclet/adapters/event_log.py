"""The gateway's side of asynchronous invocation: events in, results out. A gateway without JetStream refuses both."""

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from funclet.adapters.event_streams import EVENT_SUBJECT, event_headers, find_result, place
from funclet.adapters.group_commit import GroupCommit
from funclet.adapters.jetstream import connect
from funclet.core.asynchronous import Event
from funclet.errors import Unavailable

if TYPE_CHECKING:
    from nats.aio.client import Client

log = logging.getLogger(__name__)

RESULT_SECONDS = 5.0


class EventLog:
    """Connects by itself, as often as it takes: the gateway serves synchronous calls meanwhile."""

    def __init__(self, nats_url: str) -> None:
        self._nats_url = nats_url
        self._client: Client | None = None
        self._commit: GroupCommit | None = None
        self._connecting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect."""
        self._connecting = asyncio.create_task(self._connect(), name="event log")

    async def close(self) -> None:
        """Store what was taken, then disconnect."""
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._commit is not None:
            await self._commit.close()
        if self._client is not None:
            await self._client.close()

    def append(self, event: Event) -> "asyncio.Future[None]":
        """Resolves once the event is durable. Raises Unavailable, or fails with it, when nobody knows that it is."""
        if self._commit is None:
            raise Unavailable("JetStream cannot be reached.", reason="JetStreamUnavailable")
        return self._commit.append(place(EVENT_SUBJECT, event.key), event.payload, event_headers(event))

    async def find_result(self, key: str, request_id: str) -> dict[str, Any] | None:
        """The outcome document of an event; None when none is known."""
        client = self._client
        if client is None or not client.is_connected:
            raise Unavailable("JetStream cannot be reached.", reason="JetStreamUnavailable")
        return await find_result(client.jetstream(timeout=RESULT_SECONDS), key, request_id)

    async def _connect(self) -> None:
        self._client = await connect(self._nats_url, "funclet-gateway")
        self._commit = GroupCommit(self._client)
        log.info("JetStream reached")
