"""Messages as Lambda hands over those of an SQS queue, so that a handler written for SQS runs as it is.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html (example standard queue message event)
"""

import base64
import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

MESSAGE_ID_HEADER = "Nats-Msg-Id"
BODY_ENCODING_ATTRIBUTE = "Funclet-Body-Encoding"
"""Says `base64` on a message whose body is no UTF-8 text; SQS knows text alone."""

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://funclet.dev/jetstream")

PAYLOAD_LIMIT_BYTES = 6 * 1024 * 1024
"""Lambda's limit for a synchronous invocation's payload."""

ENVELOPE_BYTES = len(b'{"Records":[]}')


class QueueMessage(Protocol):
    """One message of an event source, as it was delivered this time."""

    @property
    def message_id(self) -> str:
        """The same at all deliveries."""

    @property
    def receipt(self) -> str:
        """What this delivery is settled by."""

    @property
    def receives(self) -> int:
        """How often it was given to the function, this time included."""

    @property
    def group(self) -> str:
        """Messages of one group are handled in their order; empty: no order is kept."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What its sender says beside the body."""

    @property
    def place(self) -> Mapping[str, object]:
        """What a log says of it: where to find it, never what is in it."""

    def content(self, queue: "Queue") -> dict[str, Any]:
        """The fields of its record that are its own: body, attributes, messageAttributes, md5OfBody."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a stream, as it was delivered this time."""

    stream: str
    subject: str
    sequence: int
    data: bytes
    receives: int
    """How often it was given to the function, this time included."""
    sent_ms: int
    """When the stream stored it, in milliseconds since 1970."""
    first_received_ms: int
    receipt: str
    """What acknowledges this delivery: JetStream's reply subject."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def message_id(self) -> str:
        """A UUID, the same at all deliveries: the publisher's own, or one made of the place in the stream."""
        try:
            return str(uuid.UUID(self.headers.get(MESSAGE_ID_HEADER, "")))
        except ValueError:
            return str(uuid.uuid5(NAMESPACE, f"{self.stream}/{self.sequence}"))

    @property
    def group(self) -> str:
        """A stream's messages are handled side by side."""
        return ""

    @property
    def place(self) -> Mapping[str, object]:
        """Where it is in which stream."""
        return {"stream": self.stream, "sequence": self.sequence}

    def content(self, queue: "Queue") -> dict[str, Any]:
        """What SQS would say of it."""
        body, attributes = _body_and_attributes(self)
        return {
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": str(self.receives),
                "SentTimestamp": str(self.sent_ms),
                "SenderId": queue.account,
                "ApproximateFirstReceiveTimestamp": str(self.first_received_ms),
            },
            "messageAttributes": {name: _string_attribute(value) for name, value in attributes.items()},
            "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        }


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue that the records claim to come from."""

    name: str
    region: str
    account: str
    partition: str = "aws"

    @property
    def arn(self) -> str:
        """Amazon resource name of the queue."""
        return f"arn:{self.partition}:sqs:{self.region}:{self.account}:{self.name}"


def to_record(message: QueueMessage, queue: Queue) -> dict[str, Any]:
    """One element of `Records`."""
    return {
        "messageId": message.message_id,
        "receiptHandle": message.receipt,
        **message.content(queue),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.arn,
        "awsRegion": queue.region,
    }


def next_payload(
    messages: Sequence[QueueMessage], queue: Queue, limit_bytes: int = PAYLOAD_LIMIT_BYTES
) -> tuple[int, bytes]:
    """An event of as many of the first messages as the limit allows, and how many these are.

    A message that is beyond the limit by itself is alone in its event; refusing it is the gateway's to do.
    """
    records: list[bytes] = []
    size = ENVELOPE_BYTES
    for message in messages:
        record = json.dumps(to_record(message, queue), ensure_ascii=False, separators=(",", ":")).encode()
        size += len(record) + 1  # and a comma
        if records and size > limit_bytes:
            break
        records.append(record)
    return len(records), _event(records)


def _event(records: Iterable[bytes]) -> bytes:
    return b'{"Records":[' + b",".join(records) + b"]}"


def _body_and_attributes(message: Message) -> tuple[str, dict[str, str]]:
    attributes = dict(message.headers)
    try:
        return message.data.decode(), attributes
    except UnicodeDecodeError:
        return base64.b64encode(message.data).decode(), {**attributes, BODY_ENCODING_ATTRIBUTE: "base64"}


def _string_attribute(value: str) -> dict[str, Any]:
    return {"stringValue": value, "stringListValues": [], "binaryListValues": [], "dataType": "String"}
