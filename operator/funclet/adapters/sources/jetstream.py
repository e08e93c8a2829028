"""A JetStream stream as an event source: a durable pull consumer, its depth, its messages and their acknowledgement.

Pull requests are written here and not left to nats-py's `fetch`: that one begins with a probe, shares one inbox between
concurrent fetches, and loses its messages when it is cancelled. The protocol is three lines:
https://docs.nats.io/reference/reference-protocols/nats_api_reference (CONSUMER.MSG.NEXT)
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from typing import Self

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from funclet.adapters.jetstream import unavailable_when_unreachable
from funclet.core.sqs_event import MESSAGE_ID_HEADER, Message
from funclet.errors import Unavailable

STREAM_NOT_FOUND = "StreamNotFound"

ANSWER_TIMEOUT_SECONDS = 5.0
"""For what the server answers from memory; also how long a fetch waits beyond its own window."""

NAK, IN_PROGRESS, ACKNOWLEDGE = b"-NAK", b"+WPI", b"+ACK"
ACKNOWLEDGE_ATTEMPTS = 3
"""A confirmation may get lost with the connection; without it the message would be handled once more."""

NO_RESPONDERS = "503"
KNOWN_TO_ALL_SECONDS = 2.0
"""A server of several may not know yet where a consumer is that was just made, or whose leader has just changed."""

RETRY_SECONDS = 0.02
HEARTBEAT = "100"
STILL_WANTED = "Nats-Pending-Messages"
"""How many of the messages that were asked for have not been sent (ADR-13)."""


class _NoRespondersError(Exception):
    """No server that ours knows of takes requests for the consumer."""


class JetStreamQueue:
    """One durable consumer of one stream. Methods raise Unavailable when JetStream cannot do it now."""

    def __init__(self, client: Client, stream: str, consumer: str, wake_subjects: list[str]) -> None:
        self._client = client
        self._jetstream = client.jetstream(timeout=ANSWER_TIMEOUT_SECONDS)
        self._stream = stream
        self._consumer = consumer
        self._wake_subjects = wake_subjects
        self._wakes: list[Subscription] = []
        self._wake: Callable[[], None] = lambda: None

    @classmethod
    async def open_consumer(cls, client: Client, stream: str, config: ConsumerConfig) -> Self:
        """Makes a durable consumer of one subject, from the stream's beginning, or brings the one that is there to it.

        Unavailable, with the reason StreamNotFound when there is no such stream.
        """
        jetstream = client.jetstream(timeout=ANSWER_TIMEOUT_SECONDS)
        name, subject = config.name or "", config.filter_subject or ">"
        config = config.evolve(
            durable_name=name,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            max_deliver=-1,  # maximumReceives is ours to count: JetStream would drop the message without a word
        )
        with unavailable_when_unreachable():
            try:
                info = await jetstream.stream_info(stream)
            except NotFoundError as error:
                message = f"the stream {stream} does not exist: make it, and its messages reach the function"
                raise Unavailable(message, reason=STREAM_NOT_FOUND) from error
            await jetstream.add_consumer(stream, config)
        wake_subjects = [subject] if subject != ">" else list(info.config.subjects or [])
        return cls(client, stream, name, wake_subjects)

    async def observe_depth(self) -> int:
        """Messages that are not acknowledged: those that nobody has yet, and those that somebody works on."""
        with unavailable_when_unreachable():
            info = await self._jetstream.consumer_info(self._stream, self._consumer)
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    @property
    def armed(self) -> bool:
        """Whether the next message will wake us."""
        return bool(self._wakes)

    async def arm(self, wake: Callable[[], None]) -> None:
        """Calls `wake` at each message published, until `disarm`: for times of rest, or all were read twice."""
        self._wake = wake
        with unavailable_when_unreachable():
            self._wakes = [await self._client.subscribe(name, cb=self._on_wake) for name in self._wake_subjects]

    async def disarm(self) -> None:
        """Listens no more."""
        wakes, self._wakes = self._wakes, []
        with unavailable_when_unreachable():
            for subscription in wakes:
                await subscription.unsubscribe()

    async def fetch(self, batch: int, window_seconds: float, limit_bytes: int | None = None) -> list[Message]:
        """At most `batch` messages of at most so many bytes: what is there now, or what comes within the window.

        A fetch that is cancelled gives back what it has taken. Unavailable, with the reason ConsumerMissing, when the
        consumer is not there any more.
        """
        deadline = time.monotonic() + KNOWN_TO_ALL_SECONDS
        while True:
            try:
                return await self._fetch(batch, window_seconds, limit_bytes)
            except _NoRespondersError as error:
                await self._look_for_consumer()
                if time.monotonic() > deadline:
                    raise Unavailable("no server answers for the consumer", reason="ConsumerLeaderless") from error
            await asyncio.sleep(RETRY_SECONDS)

    async def _look_for_consumer(self) -> None:
        with unavailable_when_unreachable():
            try:
                await self._jetstream.consumer_info(self._stream, self._consumer)
            except NotFoundError as error:
                raise Unavailable("the consumer is gone", reason="ConsumerMissing") from error

    async def _fetch(self, batch: int, window_seconds: float, limit_bytes: int | None) -> list[Message]:
        taken: list[Msg] = []
        inbox = self._client.new_inbox()
        with unavailable_when_unreachable():
            subscription = await self._client.subscribe(inbox)
            try:
                await self._request(inbox, batch, window_seconds, limit_bytes)
                await _collect(subscription, taken, batch, window_seconds)
            except asyncio.CancelledError:
                await self.retry((message.reply for message in taken), 0)
                raise
            finally:
                await _close(subscription)
        return [_to_message(message) for message in taken]

    async def acknowledge(self, receipts: Iterable[str]) -> None:
        """Returns when the server has confirmed each ("double ack"), so that none of them comes again."""
        with unavailable_when_unreachable():
            await asyncio.gather(*(self._acknowledge_one(receipt) for receipt in receipts))

    async def settle(self, receipts: Iterable[str]) -> None:
        """Acknowledges without waiting for the server's word, where a message that comes again does no harm."""
        await self._tell(receipts, ACKNOWLEDGE)

    async def retry(self, receipts: Iterable[str], delay_seconds: float) -> None:
        """Deliver these messages again after this time."""
        delay_ns = int(delay_seconds * 1e9)
        await self._tell(receipts, NAK + b' {"delay": %d}' % delay_ns if delay_ns else NAK)

    async def keep(self, receipts: Iterable[str]) -> None:
        """Somebody still works on these messages: their acknowledgement wait begins anew."""
        await self._tell(receipts, IN_PROGRESS)

    async def dead_letter(self, message: Message, subject: str, error: str) -> None:
        """Returns when a stream has stored the message under `subject`. A second attempt does not store it twice."""
        headers = {
            **{name: value for name, value in message.headers.items() if not name.startswith("Nats-")},
            MESSAGE_ID_HEADER: f"{self._consumer}/{message.stream}/{message.sequence}",
            "Funclet-Subject": message.subject,
            "Funclet-Stream": message.stream,
            "Funclet-Sequence": str(message.sequence),
            "Funclet-Receives": str(message.receives),
            "Funclet-Error": error,
        }
        with unavailable_when_unreachable():
            await self._jetstream.publish(subject, message.data, headers=headers)

    async def _request(self, inbox: str, batch: int, window_seconds: float, limit_bytes: int | None) -> None:
        request: dict[str, int | bool] = {"batch": batch}
        if limit_bytes is not None:
            request["max_bytes"] = limit_bytes
        if window_seconds > 0:
            request["expires"] = int(window_seconds * 1e9)
        else:
            request["no_wait"] = True
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        await self._client.publish(subject, json.dumps(request).encode(), reply=inbox)

    async def _acknowledge_one(self, receipt: str) -> None:
        for attempt in range(1, ACKNOWLEDGE_ATTEMPTS + 1):
            try:
                await self._client.request(receipt, ACKNOWLEDGE, timeout=ANSWER_TIMEOUT_SECONDS)
                return
            except NatsTimeoutError:
                if attempt == ACKNOWLEDGE_ATTEMPTS:
                    raise

    async def _tell(self, receipts: Iterable[str], word: bytes) -> None:
        with unavailable_when_unreachable():
            for receipt in receipts:
                await self._client.publish(receipt, word)

    async def _on_wake(self, _message: Msg) -> None:
        self._wake()


async def _collect(subscription: Subscription, taken: list[Msg], batch: int, window_seconds: float) -> None:
    """Appends what arrives until the batch is full, or all is there of which the server says that this was all.

    It may say so first: a consumer of several servers sends a message when the others have noted it, its word at once.
    """
    deadline = time.monotonic() + window_seconds + ANSWER_TIMEOUT_SECONDS
    sent = batch
    while len(taken) < sent:
        try:
            message = await subscription.next_msg(timeout=max(0.001, deadline - time.monotonic()))
        except NatsTimeoutError:
            return  # the server went: what it sent is ours, the rest comes again
        if message.reply:
            taken.append(message)
        else:
            sent = min(sent, _count_sent(message, batch))


def _count_sent(message: Msg, batch: int) -> int:
    """A message without a reply subject is the server's word on the request: 404, 408 and 409 are "that was all".

    How much that was follows from what it says is still wanted; 404, nothing, does not say.
    """
    headers = message.headers or {}
    status = headers.get("Status", "")
    if status == NO_RESPONDERS:
        raise _NoRespondersError
    return batch if status == HEARTBEAT else batch - int(headers.get(STILL_WANTED, batch))


async def _close(subscription: Subscription) -> None:
    with unavailable_when_unreachable():
        await subscription.unsubscribe()


def _to_message(message: Msg) -> Message:
    metadata = message.metadata
    return Message(
        stream=metadata.stream,
        subject=message.subject,
        sequence=metadata.sequence.stream,
        data=message.data,
        receives=metadata.num_delivered,
        sent_ms=int(metadata.timestamp.timestamp() * 1000),
        first_received_ms=int(time.time() * 1000),
        receipt=message.reply,
        headers=dict(message.headers or {}),
    )
