"""Reads HTTP/1.1 requests piece by piece (RFC 9112): heads, bodies by length or in chunks, trailers. No I/O.

For the connections that the agent itself serves: the Runtime API's clients and, for their slots, the gateways. What is
ambiguous (two lengths, a bare line feed, folded lines) is refused: nobody who speaks to the agent has a need for it.
"""

from collections.abc import Callable

from funclet_agent.wire import HEAD_END, MAX_HEAD_BYTES, RequestError

MAX_CHUNK_LINE_BYTES = 1024
_TOKEN_CHARACTERS = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

Headers = dict[bytes, bytes]


class Head:
    """A request line and its headers, whose names are in lower case."""

    def __init__(self, method: bytes, target: bytes, headers: Headers) -> None:
        self.method = method
        self.target = target
        self.headers = headers


class Data:
    """A piece of a body."""

    def __init__(self, content: bytes) -> None:
        self.content = content


class End:
    """The body is complete; trailers come with chunks only."""

    def __init__(self, trailers: Headers) -> None:
        self.trailers = trailers


Event = Head | Data | End
Step = Callable[[], Event | None]


class RequestReader:
    """Feed it bytes, take events until there is none: Head, Data…, End, and again."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._step: Step = self._read_head
        self._left = 0

    def feed(self, data: bytes) -> None:
        """What came from the client."""
        self._buffer += data

    @property
    def held_bytes(self) -> int:
        """What was fed and not yet taken."""
        return len(self._buffer)

    def next_event(self) -> Event | None:
        """The next event, None if more bytes are needed; RequestError for what is not HTTP."""
        return self._step()

    def _read_head(self) -> Event | None:
        block = self._take_until(HEAD_END, MAX_HEAD_BYTES)
        if block is None:
            return None
        lines = block.split(b"\r\n")
        head = _parse_request_line(lines[0], parse_headers(lines[1:]))
        self._step, self._left = self._framing(head.headers)
        return head

    def _framing(self, headers: Headers) -> tuple[Step, int]:
        """RFC 9112, 6.3."""
        coding, length = headers.get(b"transfer-encoding"), headers.get(b"content-length")
        if coding is not None:
            if length is not None or coding.lower() != b"chunked":
                raise RequestError("Transfer-Encoding must be chunked, without Content-Length")
            return self._read_chunk_line, 0
        if length is None:
            return self._read_sized, 0
        if not length.isdigit() or len(length) > 12:
            raise RequestError("Content-Length must be a number")
        return self._read_sized, int(length)

    def _read_sized(self) -> Event | None:
        if not self._left:
            self._step = self._read_head
            return End({})
        return self._take_data()

    def _take_data(self) -> Event | None:
        if not self._buffer:
            return None
        content = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        self._left -= len(content)
        return Data(content)

    def _read_chunk_line(self) -> Event | None:
        line = self._take_until(b"\r\n", MAX_CHUNK_LINE_BYTES)
        if line is None:
            return None
        size = line.partition(b";")[0].strip()
        if not size or len(size) > 8 or not all(character in b"0123456789abcdefABCDEF" for character in size):
            raise RequestError("a chunk's size must be a hexadecimal number")
        self._left = int(size, 16)
        self._step = self._read_chunk if self._left else self._read_trailers
        return self._step()

    def _read_chunk(self) -> Event | None:
        if self._left:
            return self._take_data()
        if len(self._buffer) < 2:
            return None
        if self._buffer[:2] != b"\r\n":
            raise RequestError("a chunk is longer than its size")
        del self._buffer[:2]
        self._step = self._read_chunk_line
        return self._step()

    def _read_trailers(self) -> Event | None:
        if self._buffer[:2] == b"\r\n":
            del self._buffer[:2]
            block = b""
        else:
            found = self._take_until(HEAD_END, MAX_HEAD_BYTES)
            if found is None:
                return None
            block = found
        self._step = self._read_head
        return End(parse_headers(block.split(b"\r\n") if block else []))

    def _take_until(self, mark: bytes, limit: int) -> bytes | None:
        end = self._buffer.find(mark)
        if end < 0 or end > limit:
            if len(self._buffer) > limit:
                raise RequestError("a line or head is too long")
            return None
        block = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return block


def parse_headers(lines: list[bytes]) -> Headers:
    """Header lines without their ends; a name that comes twice is joined by a comma (RFC 9110, 5.3)."""
    headers: Headers = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or not _TOKEN_CHARACTERS.issuperset(name) or b"\n" in value or b"\0" in value:
            raise RequestError("a header line must be a name, a colon and a value")
        name, value = name.lower(), value.strip(b" \t")
        if name in headers and name in (b"content-length", b"transfer-encoding", b"host"):
            raise RequestError(f"{name.decode()} must come once")
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _parse_request_line(line: bytes, headers: Headers) -> Head:
    method, _, rest = line.partition(b" ")
    target, _, version = rest.partition(b" ")
    if not method.isalpha() or not target.startswith(b"/") or version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise RequestError("the request line must be a method, a path and HTTP/1.1")
    return Head(method, target, headers)
