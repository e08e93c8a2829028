"""What an instance sends: one answer at a time, whole or as a stream, read piece by piece. No I/O.

The other end is a process that runs the user's code, so nothing of it is trusted: every length is bounded, framing is
exact, and of its headers only checked values go on. The framing is that of docs/design/0001: a Content-Length, or for a
stream chunks (without extensions) and trailers.
"""

import re
from binascii import a2b_base64

from funclet.gateway.call import InstanceAnswer

HEAD_LIMIT_BYTES = 64 * 1024
"""Of a head, and of a stream's trailers."""
BODY_LIMIT_BYTES = 16 * 1024 * 1024
"""Above Lambda's 6 MB, which the instance enforces with an error of its own."""
STREAM_LIMIT_BYTES = 200 * 1024 * 1024
"""Lambda's quota on a streamed response."""
NOT_BEGUN = b"HTTP/1.1 503 Not Begun"
DEFAULT_TYPE = "application/octet-stream"
_MEDIA_TYPE = re.compile(r"[!-~][ -~]{0,199}")
CHUNK_LINE_BYTES = 10
"""Eight hexadecimal digits and the line's end."""
Headers = dict[bytes, bytes]


class AnswerError(Exception):
    """The instance sent what is no answer of the contract."""


class NotBegunError(AnswerError):
    """The instance has lost the request, and says that the function has seen nothing of it."""


class AnswerReader:
    """One answer. After each `feed`: `head` once it is known, `pieces` of the body so far untaken, `done`."""

    __slots__ = (
        "_buffer", "_closing", "_left", "_total", "_trailing", "chunked", "done", "head", "length", "pieces",
        "trailers",
    )  # fmt: skip

    def __init__(self) -> None:
        self.head: Headers | None = None
        self.trailers: Headers = {}
        self.chunked = False
        self.length = 0
        self.pieces: list[bytes] = []
        self.done = False
        self._buffer = b""
        self._left = 0
        """Bytes of the body, or of the current chunk, that are still to come."""
        self._total = 0
        self._closing = self._trailing = False
        """Next comes the line end behind a chunk; the trailers."""

    def feed(self, data: bytes) -> None:
        """More of it. Raises AnswerError."""
        if self.head is None:
            data = self._read_head(self._buffer + data)
            if self.head is None:
                self._buffer = data
                return
            self._buffer = b""
        if self.chunked:
            self._read_chunks(data)
        else:
            self._read_body(data)

    def take(self) -> list[bytes]:
        """The pieces that have come since it was last asked."""
        pieces, self.pieces = self.pieces, []
        return pieces

    @property
    def content_type(self) -> str:
        """What the function says of its stream; without a word that is fit for a header, bytes."""
        given = (self.head or {}).get(b"content-type", b"").decode("latin-1")
        return given if _MEDIA_TYPE.fullmatch(given) else DEFAULT_TYPE

    def answer(self) -> InstanceAnswer:
        """The whole answer; of a stream what its trailers say."""
        assert self.head is not None
        return build_answer(self.head | self.trailers, b"".join(self.pieces))

    def _read_head(self, data: bytes) -> bytes:
        """What follows the head; all of it while the head is not complete."""
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > HEAD_LIMIT_BYTES:
            if len(data) > HEAD_LIMIT_BYTES:
                raise AnswerError("the head is too long")
            return data
        line, _, fields = data[:end].partition(b"\r\n")
        if line == NOT_BEGUN:
            raise NotBegunError
        if line.split(b" ", 2)[:2] != [b"HTTP/1.1", b"200"]:
            raise AnswerError("the status is not 200")
        self.head = head = parse_fields(fields)
        self._frame(head)
        return data[end + 4 :]

    def _frame(self, head: Headers) -> None:
        length = parse_number(head.get(b"content-length", b""))
        self.chunked = head.get(b"transfer-encoding") == b"chunked"
        if self.chunked == (b"content-length" in head) or (length is None) != self.chunked:
            raise AnswerError("the answer needs one length, or chunks")
        self.length = self._left = length or 0
        if self.length > BODY_LIMIT_BYTES:
            raise AnswerError("the answer is too long")

    def _read_body(self, data: bytes) -> None:
        if len(data) > self._left:
            raise AnswerError("more than one answer")
        if data:
            self.pieces.append(data)
        self._left -= len(data)
        self.done = self._left == 0

    def _read_chunks(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        position = following = 0
        while not self._trailing and (following := self._read_chunk(data, position)) > position:
            position = following
        self._buffer = data[following:]
        if self._trailing:
            self._read_trailers()

    def _read_chunk(self, data: bytes, position: int) -> int:
        """Reads one element of the framing; where the next one begins, `position` if this one is not complete."""
        if self._left:
            piece = data[position : position + self._left]
            self._left -= len(piece)
            if piece:
                self.pieces.append(piece)
            return position + len(piece)
        if self._closing:
            return self._read_line_end(data, position)
        return self._read_chunk_line(data, position)

    def _read_line_end(self, data: bytes, position: int) -> int:
        if len(data) < position + 2:
            return position
        if data[position : position + 2] != b"\r\n":
            raise AnswerError("a chunk is longer than its size")
        self._closing = False
        return position + 2

    def _read_chunk_line(self, data: bytes, position: int) -> int:
        end = data.find(b"\r\n", position, position + CHUNK_LINE_BYTES)
        if end < 0:
            if len(data) - position >= CHUNK_LINE_BYTES:
                raise AnswerError("a chunk's size is no number")
            return position
        digits = data[position:end]
        if not digits or digits.strip(b"0123456789abcdefABCDEF"):
            raise AnswerError("a chunk's size is no number")
        self._left = size = int(digits, 16)
        self._total += size
        if self._total > STREAM_LIMIT_BYTES:
            raise AnswerError("the stream is too long")
        self._closing = size > 0
        self._trailing = size == 0
        return end + 2

    def _read_trailers(self) -> None:
        data = b"\r\n" + self._buffer
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > HEAD_LIMIT_BYTES:
            if len(data) > HEAD_LIMIT_BYTES:
                raise AnswerError("the trailers are too long")
            return
        if len(data) > end + 4:
            raise AnswerError("more than one answer")
        self.trailers = parse_fields(data[2:end]) if end else {}
        self.done = True


def parse_fields(text: bytes) -> Headers:
    """Header lines by name in lower case. Raises AnswerError for a line without a colon and for framing given twice."""
    fields: Headers = {}
    for line in text.split(b"\r\n") if text else ():
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or (name in fields and name in (b"content-length", b"transfer-encoding")):
            raise AnswerError("the headers are not clear")
        fields[name] = value.strip()
    return fields


def parse_number(value: bytes) -> int | None:
    """Digits alone, and not too many of them."""
    return int(value) if value.isdigit() and len(value) < 16 else None


def _decode(text: bytes) -> bytes:
    try:
        return a2b_base64(text, strict_mode=True)
    except ValueError:
        return b"{}"


def build_answer(headers: Headers, body: bytes) -> InstanceAnswer:
    """What of an answer goes on. A stream that failed half-way says so in its trailers: the error becomes the body."""
    error = headers.get(b"x-amz-function-error")
    if b"lambda-runtime-function-error-type" in headers:
        error, body = b"Unhandled", _decode(headers.get(b"lambda-runtime-function-error-body", b""))
    log = headers.get(b"x-amz-log-result", b"").decode("latin-1")
    return InstanceAnswer(
        body=body,
        duration_us=parse_number(headers.get(b"x-funclet-duration-us", b"")),
        init_us=parse_number(headers.get(b"x-funclet-init-us", b"")),
        error=None if error is None else "Handled" if error == b"Handled" else "Unhandled",
        log_result=log if log.isascii() and log.isprintable() else "",
        close=headers.get(b"connection", b"").lower() == b"close",
    )
