"""Messages as Lambda hands over those of an SQS queue, so that a handler written for SQS runs as it is.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html (example standard queue message event)
"""

import base64
import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MESSAGE_ID_HEADER = "Nats-Msg-Id"
BODY_ENCODING_ATTRIBUTE = "Funclet-Body-Encoding"
"""Says `base64` on a message whose body is no UTF-8 text; SQS knows text alone."""

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://funclet.dev/jetstream")

PAYLOAD_LIMIT_BYTES = 6 * 1024 * 1024
"""Lambda's limit for a synchronous invocation's payload."""

ENVELOPE_BYTES = len(b'{"Records":[]}')


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


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue that the records claim to come from."""

    stream: str
    region: str
    account: str

    @property
    def arn(self) -> str:
        """Amazon resource name of the queue."""
        return f"arn:aws:sqs:{self.region}:{self.account}:{self.stream}"


def to_record(message: Message, queue: Queue) -> dict[str, Any]:
    """One element of `Records`."""
    body, attributes = _body_and_attributes(message)
    return {
        "messageId": message.message_id,
        "receiptHandle": message.receipt,
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": str(message.receives),
            "SentTimestamp": str(message.sent_ms),
            "SenderId": queue.account,
            "ApproximateFirstReceiveTimestamp": str(message.first_received_ms),
        },
        "messageAttributes": {name: _string_attribute(value) for name, value in attributes.items()},
        "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.arn,
        "awsRegion": queue.region,
    }


def to_payloads(
    messages: Sequence[Message], queue: Queue, limit_bytes: int = PAYLOAD_LIMIT_BYTES
) -> list[tuple[list[Message], bytes]]:
    """The batch as events, each with the messages in it: one event, or more where one would be beyond the limit.

    A message that is beyond the limit by itself stays alone; refusing it is the gateway's to do.
    """
    groups: list[tuple[list[Message], list[bytes]]] = []
    size = limit_bytes
    for message in messages:
        record = json.dumps(to_record(message, queue), ensure_ascii=False, separators=(",", ":")).encode()
        if not groups or size + len(record) + 1 > limit_bytes:
            groups.append(([], []))
            size = ENVELOPE_BYTES
        size += len(record) + 1  # and a comma
        groups[-1][0].append(message)
        groups[-1][1].append(record)
    return [(members, _event(records)) for members, records in groups]


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
