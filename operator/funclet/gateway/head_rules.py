"""What of a request's head is refused beyond what the parser refuses."""

from funclet.core.http_event import HttpAnswer, message_answer
from funclet.gateway.call import Request
from funclet.gateway.limits import Limits

METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
"""Those that an HTTP API of API Gateway has."""


def judge_head(request: Request, header_count: int, limits: Limits) -> tuple[HttpAnswer, str] | None:
    """The refusal of a head that another HTTP implementation may understand otherwise, or that is too much; and why."""
    fields = request.fields
    host = fields.get(b"host")
    if request.method not in METHODS:
        return message_answer(501, "Not Implemented"), "a method of HTTP APIs"
    if header_count > limits.headers:
        return message_answer(431, "Request Header Fields Too Large"), "headers"
    if (host is None and not request.is_old) or (host is not None and b"," in host):
        return message_answer(400, "Bad Request"), "exactly one Host (RFC 9112, 3.2)"
    coding = fields.get(b"transfer-encoding")
    if coding is None:
        return None
    if request.is_old or b"upgrade" in fields:
        # Where would the other protocol begin?
        return message_answer(400, "Bad Request"), "no Transfer-Encoding here (RFC 9112, 6.1)"
    if coding.lower() != b"chunked":
        return message_answer(501, "Not Implemented"), "chunked alone as Transfer-Encoding (RFC 9112, 6.1)"
    return None


def head_bytes(request: Request) -> int:
    """What its head takes, without the delimiters."""
    return len(request.url) + sum(len(name) + len(value) for name, value in request.fields.items())
