"""Heads of answers as bytes."""

from http import HTTPStatus

from funclet.core.http_event import HttpAnswer

REASONS = {status.value: status.phrase for status in HTTPStatus}
BODILESS = frozenset((204, 304))
KEPT = b"\r\n"
CLOSING = b"connection: close\r\n\r\n"
"""The end of a head on a connection that is kept, and on one that is not."""
WHOLE = b"%b%bcontent-length: %d\r\n%b%b"
"""A whole answer: its own head, the date, the length of the body, the end of the head, the body."""


def encode_head(answer: HttpAnswer) -> bytes:
    """Status line and headers, each with its CRLF."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
    return f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Status')}\r\n{headers}".encode()
