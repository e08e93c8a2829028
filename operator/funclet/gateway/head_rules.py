"""What of a request's head is refused beyond what the parser refuses."""

from funclet.core.http_event import HttpAnswer, message_answer
from funclet.gateway.call import Request
from funclet.gateway.limits import Limits

METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
"""Those that an HTTP API of API Gateway has."""


def judge_head(request: Request, header_count: int, limits: Limits) -> HttpAnswer | None:
    """The refusal of a head that another HTTP implementation may understand otherwise, or that is too much."""
    fields = request.fields
    host = fields.get(b"host")
    if request.method not in METHODS:
        return message_answer(501, "Not Implemented")
    if header_count > limits.headers:
        return message_answer(431, "Request Header Fields Too Large")
    if (host is None and not request.is_old) or (host is not None and b"," in host):
        return message_answer(400, "Bad Request")  # RFC 9112, 3.2: exactly one Host
    coding = fields.get(b"transfer-encoding")
    if coding is None:
        return None
    if request.is_old or b"upgrade" in fields:
        return message_answer(
            400, "Bad Request"
        )  # RFC 9112, 6.1: faulty framing; where would the other protocol begin?
    if coding.lower() != b"chunked":
        return message_answer(501, "Not Implemented")  # RFC 9112, 6.1: a coding that we do not understand
    return None


def head_bytes(request: Request) -> int:
    """What its head takes, without the delimiters."""
    return len(request.url) + sum(len(name) + len(value) for name, value in request.fields.items())
