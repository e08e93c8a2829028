"""Messages in the shape of an SQS event."""

import hashlib
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.core.sqs_event import Message, Queue, next_payload, to_record

QUEUE = Queue("ORDERS", "us-east-1", "000000000000")


def message(sequence: int = 7, data: bytes = b'{"id": 1}', headers: dict[str, str] | None = None) -> Message:
    return Message(
        stream="ORDERS",
        subject="orders.new",
        sequence=sequence,
        data=data,
        receives=2,
        sent_ms=1_700_000_000_000,
        first_received_ms=1_700_000_001_000,
        receipt="$JS.ACK.ORDERS.c.2.7.9.1.0",
        headers=headers or {},
    )


def test_a_record_has_all_that_a_record_of_sqs_has() -> None:
    record = to_record(message(headers={"color": "red"}), QUEUE)
    assert uuid.UUID(record.pop("messageId")).version == 5
    assert record == {
        "receiptHandle": "$JS.ACK.ORDERS.c.2.7.9.1.0",
        "body": '{"id": 1}',
        "attributes": {
            "ApproximateReceiveCount": "2",
            "SentTimestamp": "1700000000000",
            "SenderId": "000000000000",
            "ApproximateFirstReceiveTimestamp": "1700000001000",
        },
        "messageAttributes": {
            "color": {"stringValue": "red", "stringListValues": [], "binaryListValues": [], "dataType": "String"}
        },
        "md5OfBody": hashlib.md5(b'{"id": 1}').hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:ORDERS",
        "awsRegion": "us-east-1",
    }


def test_the_message_id_stays_over_deliveries_and_differs_between_messages() -> None:
    assert message(7).message_id == message(7).message_id != message(8).message_id


@pytest.mark.parametrize(
    ("header", "kept"), [("0b0ef9ee-2a2c-4a43-8f5c-6a4e5a9d1c11", True), ("order-17", False), ("", False)]
)
def test_the_publishers_own_uuid_is_kept(header: str, kept: bool) -> None:
    assert (message(headers={"Nats-Msg-Id": header}).message_id == header) is kept


def test_bytes_that_are_no_text_travel_as_base64() -> None:
    record = to_record(message(data=b"\xff\x00"), QUEUE)
    assert record["body"] == "/wA="
    assert record["messageAttributes"]["Funclet-Body-Encoding"]["stringValue"] == "base64"


@given(
    st.lists(st.binary(max_size=300), min_size=1, max_size=20),
    st.integers(min_value=600, max_value=5000),
)
def test_payloads_keep_all_messages_in_order_and_stay_below_the_limit(bodies: list[bytes], limit: int) -> None:
    messages = [message(number, body) for number, body in enumerate(bodies)]
    rest = messages
    while rest:
        count, payload = next_payload(rest, QUEUE, limit)
        members, rest = rest[:count], rest[count:]
        records = json.loads(payload)["Records"]
        assert [record["messageId"] for record in records] == [member.message_id for member in members]
        assert len(payload) <= limit or len(members) == 1


def test_a_batch_below_the_limit_is_one_event() -> None:
    count, _ = next_payload([message(number) for number in range(100)], QUEUE)
    assert count == 100
