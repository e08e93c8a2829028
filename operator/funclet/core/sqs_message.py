"""A message as SQS gives it, and as it stands in Lambda's record.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from funclet.core.sqs_event import Queue

TRACE_ATTRIBUTE = "AWSTraceHeader"
TRACE_HEADER = "x-amzn-trace-id"
RECORD_NAMES = {"StringValue": "stringValue", "BinaryValue": "binaryValue", "DataType": "dataType"}


@dataclass(frozen=True, slots=True)
class SqsMessage:
    """One message of a queue, as it was received this time."""

    message_id: str
    receipt: str
    body: str
    md5: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    """The queue's own, such as ApproximateReceiveCount and MessageGroupId."""
    message_attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The sender's, as the protocol has them."""
    attributes_md5: str = ""

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """One element of ReceiveMessage's `Messages`. Raises KeyError when it is none."""
        return cls(
            message_id=given["MessageId"],
            receipt=given["ReceiptHandle"],
            body=given["Body"],
            md5=given["MD5OfBody"],
            attributes=given.get("Attributes") or {},
            message_attributes=given.get("MessageAttributes") or {},
            attributes_md5=given.get("MD5OfMessageAttributes") or "",
        )

    @property
    def receives(self) -> int:
        """As the queue counts them."""
        return int(self.attributes.get("ApproximateReceiveCount", "1"))

    @property
    def group(self) -> str:
        """Of a FIFO queue's message; on a standard queue a group (for fair queues) has no order."""
        return self.attributes.get("MessageGroupId", "") if "SequenceNumber" in self.attributes else ""

    @property
    def headers(self) -> Mapping[str, str]:
        """The sender's attributes that are texts, and X-Ray's header."""
        texts = {name: each["StringValue"] for name, each in self.message_attributes.items() if "StringValue" in each}
        trace = self.attributes.get(TRACE_ATTRIBUTE)
        return {**texts, TRACE_HEADER: trace} if trace else texts

    @property
    def place(self) -> Mapping[str, object]:
        """Its name in the queue."""
        return {"message": self.message_id}

    def content(self, _queue: Queue) -> dict[str, Any]:
        """What the queue says of it, in Lambda's names."""
        digest = {"md5OfMessageAttributes": self.attributes_md5} if self.attributes_md5 else {}
        return {
            "body": self.body,
            "attributes": dict(self.attributes),
            "messageAttributes": {name: _to_record(given) for name, given in self.message_attributes.items()},
            "md5OfBody": self.md5,
            **digest,
        }


def _to_record(given: Mapping[str, str]) -> dict[str, Any]:
    values = {RECORD_NAMES[name]: value for name, value in given.items() if name in RECORD_NAMES}
    return {**values, "stringListValues": [], "binaryListValues": []}
