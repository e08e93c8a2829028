"""HTTP/1.1 as agent and handler process need it: heads with a Content-Length, whole answers. No I/O."""

from funclet_agent.errors import AgentError

HEAD_END = b"\r\n\r\n"
MAX_HEAD_BYTES = 65536
REASONS = {
    200: b"OK",
    202: b"Accepted",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    409: b"Conflict",
    413: b"Request Entity Too Large",
    503: b"Service Unavailable",
}


class RequestError(AgentError):
    """The client sent something that is not our HTTP."""


def parse_head(head: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """The request line and the headers (names in lower case) of a head without its empty line."""
    line, _, rest = head.partition(b"\r\n")
    return line, parse_headers(rest)


def parse_headers(lines: bytes) -> dict[bytes, bytes]:
    """Header lines, without the last one's end."""
    headers = {}
    for line in lines.split(b"\r\n"):
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    return headers


def body_length(headers: dict[bytes, bytes], limit: int) -> int:
    """How many bytes of body follow; refuses what is longer than `limit` bytes or has no plain length."""
    if b"transfer-encoding" in headers:
        raise RequestError("the body must have a Content-Length")
    text = headers.get(b"content-length", b"0")
    if not text.isdigit() or len(text) > 12:
        raise RequestError("Content-Length must be a number")
    length = int(text)
    if length > limit:
        raise RequestError(f"the body must not exceed {limit} bytes")
    return length


USUAL_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    b"x-funclet-duration-us: %d\r\nx-funclet-max-memory-mib: %d\r\n\r\n%b"
)
"""To a warm invocation that succeeded: the body's length, microseconds, mebibytes, the body."""

NOT_BEGUN = b"HTTP/1.1 503 Not Begun\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
"""What came of a request is lost, and the function has seen nothing of it: it may be sent again."""


def answer(status: int, body: bytes, headers: bytes = b"") -> bytes:
    """A whole answer; `headers` are further header lines, each with its line end."""
    return b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n%s" % (
        status,
        REASONS[status],
        len(body),
        headers,
        body,
    )
