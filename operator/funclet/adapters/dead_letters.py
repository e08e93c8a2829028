"""The dead letters of asynchronous invocations: read, redriven and purged."""

import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from nats.aio.client import Client
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from funclet.adapters.event_streams import (
    ACCEPTED_MS,
    ATTEMPTS,
    CONDITION,
    DEAD_LETTER_SUBJECT,
    DEAD_LETTERS,
    EVENT_SUBJECT,
    event_headers,
    place,
    read_event,
)
from funclet.adapters.jetstream import unavailable_when_unreachable
from funclet.core.asynchronous import Event

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://funclet.dev/redrives")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One event that was given up."""

    sequence: int
    event: Event
    given_up_at: datetime | None
    headers: Mapping[str, str]

    @property
    def condition(self) -> str:
        """Why it was given up: RetriesExhausted, EventAgeExceeded, …"""
        return self.headers.get(CONDITION, "")

    @property
    def attempts(self) -> int:
        """How often the function ran with it."""
        return int(self.headers.get(ATTEMPTS, "0"))

    @property
    def error_message(self) -> str:
        """What the function said at last, or the condition."""
        return self.headers.get("ErrorMessage", "")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters: of a function, a namespace, or all; of these all, or the one with this request id."""

    namespace: str = "*"
    function: str = "*"
    request_id: str | None = None

    @property
    def subject(self) -> str:
        """The subjects of these functions."""
        return f"{DEAD_LETTER_SUBJECT}.{self.namespace}.{self.function}"


class DeadLetters:
    """Methods raise Unavailable when JetStream cannot do it now."""

    def __init__(self, client: Client) -> None:
        self._jetstream = client.jetstream()

    async def read(self, choice: Choice) -> AsyncIterator[DeadLetter]:
        """The oldest first."""
        sequence = 1
        while (message := await self._next(sequence, choice.subject)) is not None:
            letter = _read(message)
            if choice.request_id in (None, letter.event.request_id):
                yield letter
            sequence = letter.sequence + 1

    async def redrive(self, letter: DeadLetter) -> str:
        """Gives the event to its function again, under a new request id, which is returned: the old one has its result.

        The new id is always the same, so that a redrive that was cut off and is done again runs the function once.
        """
        request_id = str(uuid.uuid5(NAMESPACE, f"{letter.event.request_id}/{letter.sequence}"))
        event = Event(
            request_id,
            letter.event.key,
            letter.event.payload,
            trace_id=letter.event.trace_id,
            client_context=letter.event.client_context,
            qualifier=letter.event.qualifier,
        )
        with unavailable_when_unreachable():
            await self._jetstream.publish(place(EVENT_SUBJECT, event.key), event.payload, headers=event_headers(event))
        await self.delete(letter)
        return request_id

    async def delete(self, letter: DeadLetter) -> None:
        """Removes it."""
        with unavailable_when_unreachable():
            await self._jetstream.delete_msg(DEAD_LETTERS, letter.sequence)

    async def _next(self, sequence: int, subject: str) -> RawStreamMsg | None:
        with unavailable_when_unreachable():
            try:
                return await self._jetstream.get_msg(DEAD_LETTERS, sequence, subject=subject, next=True)
            except NotFoundError:
                return None


def _read(message: RawStreamMsg) -> DeadLetter:
    subject, headers = message.subject or "", message.headers or {}
    event = read_event(subject, message.data or b"", headers, int(headers.get(ACCEPTED_MS, "0")))
    return DeadLetter(message.seq or 0, event, message.time, headers)
