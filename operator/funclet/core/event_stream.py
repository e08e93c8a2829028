"""AWS's event-stream encoding (application/vnd.amazon.eventstream), as InvokeWithResponseStream answers.

A message is a prelude (total length, length of the headers, CRC32 of these two), headers, payload, and the CRC32 of all
before it; every number is big-endian. https://smithy.io/2.0/aws/amazon-eventstream.html
"""

import json
from struct import Struct
from zlib import crc32

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_TWO_LENGTHS = Struct(">II")
_NUMBER = Struct(">I")
_STRING_TYPE = 7
_FRAME_BYTES = 16
"""Prelude (12) and the message's CRC (4)."""


def _header(name: str, value: str) -> bytes:
    return bytes((len(name),)) + name.encode() + bytes((_STRING_TYPE,)) + len(value).to_bytes(2, "big") + value.encode()


def _event_headers(event_type: str, content_type: str) -> bytes:
    pairs = ((":message-type", "event"), (":event-type", event_type), (":content-type", content_type))
    return b"".join(_header(name, value) for name, value in pairs)


_CHUNK_HEADERS = _event_headers("PayloadChunk", "application/octet-stream")
_COMPLETE_HEADERS = _event_headers("InvokeComplete", "application/json")


def _message(headers: bytes, payload: bytes) -> bytes:
    prelude = _TWO_LENGTHS.pack(_FRAME_BYTES + len(headers) + len(payload), len(headers))
    start = prelude + _NUMBER.pack(crc32(prelude)) + headers
    return start + payload + _NUMBER.pack(crc32(payload, crc32(start)))


def payload_chunk(payload: bytes) -> bytes:
    """A piece of the function's answer."""
    return _message(_CHUNK_HEADERS, payload)


def invoke_complete(error_code: str | None = None, error_details: str | None = None, log_result: str = "") -> bytes:
    """The last event: how the invocation ended, and the end of its log in base64 if the caller asked for it."""
    members = {"ErrorCode": error_code, "ErrorDetails": error_details, "LogResult": log_result or None}
    return _message(_COMPLETE_HEADERS, json.dumps({name: text for name, text in members.items() if text}).encode())
