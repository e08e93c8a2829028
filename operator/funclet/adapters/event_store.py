"""The events role's side of the streams of asynchronous invocation: outcomes, dead letters, and events of its own."""

import json
from datetime import datetime
from typing import Any

from nats.aio.client import Client

from funclet.adapters.event_streams import (
    DEAD_LETTER_SUBJECT,
    EVENT_SUBJECT,
    dead_letter_headers,
    event_headers,
    find_result,
    place,
    result_subject,
)
from funclet.adapters.group_commit import GroupCommit
from funclet.adapters.jetstream import unavailable_when_unreachable
from funclet.core.asynchronous import Event, Finish, TryAgain
from funclet.core.invocation_record import read_result, result_document
from funclet.core.qualifiers import function_key

ANSWER_SECONDS = 5.0


class EventStore:
    """Every method raises Unavailable when JetStream cannot do it now."""

    def __init__(self, client: Client) -> None:
        self._jetstream = client.jetstream(timeout=ANSWER_SECONDS)
        self._events = GroupCommit(client)
        self._results = GroupCommit(client)

    async def find(self, event: Event, now: datetime) -> Finish | TryAgain | None:
        """What was recorded of an event, as it stands now; None: none of its attempts has ended."""
        document = await find_result(self._jetstream, event.key, event.request_id)
        return None if document is None else read_result(document, now)

    async def record(self, event: Event, step: Finish | TryAgain, now: datetime) -> None:
        """Returns when what became of an attempt is durable."""
        document: dict[str, Any] = result_document(event, step, now)
        await self._results.append(result_subject(event.key, event.request_id), json.dumps(document).encode(), {})

    async def add_dead_letter(self, event: Event, finish: Finish) -> None:
        """Returns when the event is among the dead letters. A second time soon after adds nothing."""
        headers = {**dead_letter_headers(event, finish), "Nats-Msg-Id": event.request_id}
        with unavailable_when_unreachable():
            await self._jetstream.publish(
                place(DEAD_LETTER_SUBJECT, function_key(event.key)), event.payload, headers=headers
            )

    async def accept(self, event: Event) -> None:
        """Returns when an event of Funclet's own (a record for a function) is as durable as a caller's."""
        await self._events.append(place(EVENT_SUBJECT, event.key), event.payload, event_headers(event))

    async def accept_once(self, event: Event) -> bool:
        """The same for one that others accept too, at about the same time. Whether it is new."""
        headers = {**event_headers(event), "Nats-Msg-Id": event.request_id}
        with unavailable_when_unreachable():
            stored = await self._jetstream.publish(place(EVENT_SUBJECT, event.key), event.payload, headers=headers)
        return not stored.duplicate

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        """Returns when some stream has stored the message."""
        with unavailable_when_unreachable():
            await self._jetstream.publish(subject, payload, headers=headers)

    async def close(self) -> None:
        """Returns when what is under way has ended."""
        await self._events.close()
        await self._results.close()
