"""One request on its way to the home of its function: what is said about it, and how it is written."""

from funclet.gateway.call import Request

TOKEN = b"x-funclet-peer-token"
SOURCE = b"x-funclet-peer-source"
PASSED_OVER = b"x-funclet-peer-passed-over"
NOT_HOME = b"HTTP/1.1 421 Not Home\r\ncontent-length: 0\r\n\r\n"
"""A function cannot answer this: the reason phrase of a 421 that it chooses is another one."""
NOT_HOME_LINE = NOT_HOME.partition(b"\r\n")[0]
NOT_FORWARDED = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"transfer-encoding",
        b"content-length",
        b"upgrade",
        b"expect",
        TOKEN,
        SOURCE,
        PASSED_OVER,
    )
)
"""Of the connection (RFC 9110, 7.6.1), or for us to say."""


def encode_request(request: Request, keep_alive: bool, extra: bytes) -> bytes:
    """The request as it came, but for what concerns its connection; `extra` are further header lines."""
    lines = [b"%b: %b\r\n" % item for item in request.fields.items() if item[0] not in NOT_FORWARDED]
    if request.body or b"content-length" in request.fields:
        lines.append(b"content-length: %d\r\n" % len(request.body))
    if not keep_alive:
        lines.append(b"connection: close\r\n")
    elif request.fields.get(b"connection", b"").lower() == b"keep-alive":
        lines.append(b"connection: keep-alive\r\n")
    version = 0 if request.is_old else 1
    return b"%b %b HTTP/1.%d\r\n%b%b\r\n%b" % (
        request.method, request.url, version, extra, b"".join(lines), request.body,
    )  # fmt: skip
