"""The event stream, read by botocore as boto3's EventStream reads it."""

import json

from botocore.eventstream import ChecksumMismatch, EventStreamBuffer, InvalidHeadersLength, InvalidPayloadLength
from hypothesis import given
from hypothesis import strategies as st

from funclet.core.event_stream import invoke_complete, payload_chunk


def read(stream: bytes) -> list[tuple[str, bytes]]:
    """Event types and payloads."""
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    events = [event.to_response_dict() for event in buffer]
    assert all(event["headers"][":message-type"] == "event" for event in events)
    return [(event["headers"][":event-type"], event["body"]) for event in events]


@given(pieces=st.lists(st.binary(max_size=2000), max_size=8))
def test_what_goes_in_comes_out(pieces: list[bytes]) -> None:
    stream = b"".join(map(payload_chunk, pieces)) + invoke_complete()
    assert read(stream) == [*(("PayloadChunk", piece) for piece in pieces), ("InvokeComplete", b"{}")]


@given(
    code=st.none() | st.text(min_size=1),
    details=st.none() | st.text(min_size=1),
    log=st.text(st.characters(codec="ascii")),
)
def test_the_end_says_what_went_wrong(code: str | None, details: str | None, log: str) -> None:
    ((kind, body),) = read(invoke_complete(code, details, log))
    wanted = {"ErrorCode": code, "ErrorDetails": details, "LogResult": log or None}
    assert (kind, json.loads(body)) == ("InvokeComplete", {name: text for name, text in wanted.items() if text})


@given(position=st.integers(0, 200), piece=st.binary(min_size=100, max_size=100))
def test_a_damaged_byte_is_noticed(position: int, piece: bytes) -> None:
    message = bytearray(payload_chunk(piece))
    message[position % len(message)] ^= 0x40
    try:
        events = read(bytes(message))
    except (ChecksumMismatch, InvalidHeadersLength, InvalidPayloadLength):
        return
    assert events == []  # a longer length than the message has: the rest is waited for
