"""One request of a caller, and what of its head is refused beyond what the parser refuses."""

from typing import TYPE_CHECKING

from funclet.core.http_event import HttpAnswer, message_answer
from funclet.gateway.limits import Limits

if TYPE_CHECKING:
    from funclet.gateway.budget import Lease
    from funclet.gateway.call import Call
    from funclet.gateway.client import ClientProtocol
    from funclet.gateway.relay import Relay

METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
"""Those that an HTTP API of API Gateway has."""


class Request:
    """One request, complete."""

    __slots__ = (
        "_fields", "body", "call", "client", "head", "is_old", "keep_alive", "lease", "method",
        "relay", "url",
    )  # fmt: skip

    call: "Call | None"
    """The invocation that it has become, until it is answered."""
    relay: "Relay | None"
    """Its way to another gateway, until it is answered."""
    lease: "Lease | None"
    """What a large body takes of the gateway's budget."""
    is_old: bool
    """HTTP/1.0: it cannot read chunks."""

    def __init__(
        self, client: "ClientProtocol", method: bytes = b"", url: bytes = b"", head: bytes = b"", body: bytes = b""
    ) -> None:
        """`head`, up to its last header: of a request that has been found plain (`plain`)."""
        self.client = client
        self.method = method
        self.url = url
        self.body = body
        self.head = head
        self._fields: dict[bytes, bytes] | None = None if head else {}
        self.call = self.relay = self.lease = None
        self.keep_alive = True
        self.is_old = False

    @property
    def fields(self) -> dict[bytes, bytes]:
        """Headers by name in lower case; several of one name are joined."""
        if self._fields is None:
            self._fields = {}
            for line in self.head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                add_field(self._fields, name.lower(), value.lstrip(b" \t"))
        return self._fields


def add_field(fields: dict[bytes, bytes], name: bytes, value: bytes) -> bool:
    """Add a header; True: one of its name is there, and they are joined (RFC 9110, 5.3; cookies: RFC 9113, 8.2.3)."""
    if name in fields:
        fields[name] += (b"; " if name == b"cookie" else b",") + value
        return True
    fields[name] = value
    return False


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
