"""Answers that a function gives bit by bit: its handler returns a generator of bytes or str.

To a caller who wants a stream each piece goes at once, as a chunk (docs/design/0001); whatever is to be said at the end
goes into the trailers. For every other caller the pieces are put together. The first piece is waited for before
anything is sent: what fails until then is answered as for any other handler.

The first piece may be an object: status, headers and cookies for a caller by HTTP, sent as Lambda's response streaming
has it: as JSON that ends with eight NUL bytes.
"""

import json
from binascii import b2a_base64
from collections.abc import Callable, Iterator
from typing import Any

from funclet_agent.failures import failure
from funclet_agent.marshalling import MAX_ANSWER_BYTES, MarshalError, write_answer

MAX_STREAM_BYTES = 200 * 1024 * 1024
"""Lambda's limit on a streamed answer."""
MAX_ERROR_BYTES = 16 * 1024
"""Of an error object in the trailers."""
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n"
BYTES_TYPE = b"application/octet-stream"
PRELUDE_TYPE = b"application/vnd.awslambda.http-integration-response"
PRELUDE_END = bytes(8)
MODE = b"lambda-runtime-function-response-mode"

GENERATOR = type((lambda: (yield))())


def is_wanted(headers: dict[bytes, bytes]) -> bool:
    """Whether the caller reads a stream."""
    return headers.get(MODE) == b"streaming"


def is_stream(headers: dict[bytes, bytes]) -> bool:
    """Whether a runtime's answer is one: it says so, or, as aws-lambda-go, does not say how long its answer will be."""
    return is_wanted(headers) or headers.get(b"transfer-encoding", b"").lower() == b"chunked"


def read_pieces(generator: Any, limit: int) -> Iterator[tuple[bytes, bytes]]:
    """What the handler yields as bytes, each time with the content type of the whole; empty pieces are left out.

    Raises MarshalError for what cannot be sent.
    """
    total = 0
    content_type = b""
    for piece in generator:
        data = _to_bytes(piece, is_first=not content_type)
        content_type = content_type or (PRELUDE_TYPE if isinstance(piece, dict) else BYTES_TYPE)
        total += len(data)
        if total > limit:
            message = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
            raise MarshalError(failure("Function.ResponseSizeTooLarge", message))
        if data:
            yield content_type, data


def _to_bytes(piece: object, *, is_first: bool) -> bytes:
    if isinstance(piece, str):
        return piece.encode()
    if isinstance(piece, bytes | bytearray | memoryview):
        return bytes(piece)
    if isinstance(piece, dict) and is_first:
        return write_answer(piece) + PRELUDE_END
    message = f"Unable to marshal response: a handler that streams yields bytes or str, not {type(piece).__name__}"
    raise MarshalError(failure("Runtime.MarshalError", message))


def collect(generator: Any) -> bytes:
    """All of it, for a caller who wants it whole."""
    return b"".join(data for _, data in read_pieces(generator, MAX_ANSWER_BYTES))


def send_pieces(generator: Any, send: Callable[[bytes], bool]) -> bool:
    """Send each piece as it comes; False: the caller is gone, and the generator was told (GeneratorExit)."""
    begun = False
    try:
        for content_type, data in read_pieces(generator, MAX_STREAM_BYTES):
            piece = encode_piece(b"" if begun else content_type, data)
            begun = True
            if not send(piece):
                return False
        return begun or send(HEAD % BYTES_TYPE)
    finally:
        generator.close()


def encode_piece(content_type: bytes, data: bytes) -> bytes:
    """A chunk; before it the head, if a content type is given."""
    return b"%b%x\r\n%b\r\n" % (HEAD % content_type if content_type else b"", len(data), data)


def ending(extra: bytes, error: bytes = b"") -> bytes:
    """The last chunk and the trailers: header lines, and the error object if the function failed half-way."""
    return b"0\r\n%b%b\r\n" % (extra, _error_lines(error) if error else b"")


def _error_lines(error: bytes) -> bytes:
    if len(error) > MAX_ERROR_BYTES:
        error = json.dumps(_shorten(json.loads(error))).encode()
    kind = str(json.loads(error)["errorType"]).encode("ascii", "replace")
    return b"lambda-runtime-function-error-type: %b\r\nlambda-runtime-function-error-body: %b\r\n" % (
        b"".join(kind.split()),
        b2a_base64(error, newline=False),
    )


def _shorten(error: dict[str, Any]) -> dict[str, Any]:
    return {**error, "errorMessage": str(error["errorMessage"])[: MAX_ERROR_BYTES // 16], "stackTrace": []}
