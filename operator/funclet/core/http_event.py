"""HTTP to Lambda and back: API Gateway's payload format 2.0 and its response rules.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

TEXT_TYPES = re.compile(r"(text/.*|application/([^;]*\+)?(json|xml|javascript))\s*(;.*)?", re.IGNORECASE)
"""Bodies of these types are passed on as text, all others in base64."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
"""RFC 9110, 5.5: no control characters but the tabulator; above all no CR and LF."""

PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response"
PRELUDE_END = bytes(8)
PRELUDE_LIMIT_BYTES = 64 * 1024

CONNECTION_HEADERS = frozenset(
    (
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""The gateway's own: a function that sets them is not heard."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as received. `path` is percent-encoded; header names are in any case, in their order."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    source_ip: str
    protocol: str = "HTTP/1.1"


@dataclass(frozen=True, slots=True)
class RouteContext:
    """What the matched route adds to the event."""

    route_key: str
    parameters: dict[str, str]
    account_id: str
    api_id: str


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A response for the client; header names in lower case, without those of the connection."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


def message_answer(status: int, message: str, headers: Sequence[tuple[str, str]] = ()) -> HttpAnswer:
    """API Gateway's own answers: a JSON object with a message."""
    body = json.dumps({"message": message}).encode()
    return HttpAnswer(status, (("content-type", "application/json"), *headers), body)


def internal_error() -> HttpAnswer:
    """What the client gets when the function failed or gave an answer that is none."""
    return message_answer(500, "Internal Server Error")


def build_event(request: HttpRequest, route: RouteContext, request_id: str, now: datetime) -> dict[str, Any]:
    """The event, for `encode_event`: a body that is no text is bytes. Members without content are left out."""
    headers, cookies = _join_headers(request.headers)
    domain = headers.get("host", "")
    body, encoded = _encode_body(request.body, headers.get("content-type", ""))
    path = unquote(request.path)
    optional = {
        "cookies": cookies,
        "queryStringParameters": _join(parse_qsl(request.query, keep_blank_values=True)),
        "pathParameters": route.parameters,
        "body": body,
    }
    context = {
        "accountId": route.account_id,
        "apiId": route.api_id,
        "domainName": domain,
        "domainPrefix": domain.partition(".")[0],
        "http": {
            "method": request.method,
            "path": path,
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": request_id,
        "routeKey": route.route_key,
        "stage": "$default",
        "time": now.astimezone(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(now.timestamp() * 1000),
    }
    return {
        "version": "2.0",
        "routeKey": route.route_key,
        "rawPath": path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": context,
        "isBase64Encoded": encoded,
        **{name: value for name, value in optional.items() if value},
    }


def _join_headers(pairs: Iterable[tuple[str, str]]) -> tuple[dict[str, str], list[str]]:
    lowered = [(name.lower(), value) for name, value in pairs]
    cookies = [part for name, value in lowered if name == "cookie" for part in re.split(r";\s*", value) if part]
    return _join(pair for pair in lowered if pair[0] != "cookie"), cookies


def _join(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Values of the same name, joined by a comma."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def encode_event(event: dict[str, Any]) -> bytes:
    """The event as JSON; bytes in it become base64.

    6 MB take 1 to 10 ms with msgspec and 15 to 40 with the standard library, and nobody else is served meanwhile.
    """
    return msgspec.json.encode(event)


def _encode_body(body: bytes, content_type: str) -> tuple[str | bytes, bool]:
    if not body:
        return "", False
    if TEXT_TYPES.fullmatch(content_type.strip()):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return body, True


def parse_answer(payload: bytes) -> HttpAnswer:
    """A function's answer as an HTTP response.

    With `statusCode` it is a response; without it, it is the body of a 200 of type application/json.
    What cannot be sent is a 500.
    """
    try:
        answer = _read_json(payload) if payload else None
    except (ValueError, RecursionError):
        return internal_error()
    try:
        if not isinstance(answer, dict) or "statusCode" not in answer:
            body = answer.encode() if isinstance(answer, str) else payload
            return HttpAnswer(200, (("content-type", "application/json"),), body)
        return HttpAnswer(_parse_status(answer["statusCode"]), _parse_headers(answer), _parse_body(answer))
    except (ValueError, TypeError):
        return internal_error()


def _read_json(payload: bytes) -> Any:
    """As the standard library reads it, which is more lenient (NaN, UTF-16, …) and takes five times as long."""
    try:
        return msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        return json.loads(payload)


def split_stream(content_type: str, start: bytes) -> tuple[HttpAnswer, bytes] | None:
    """The head of a streamed response, and the first part of its body; None: more of it is needed.

    Lambda's response streaming puts status, headers and cookies as JSON in front, ended by eight NUL bytes, and says so
    by its content type. Without it the response is a 200 of the content type that the function gives.
    """
    if content_type != PRELUDE_TYPE:
        return HttpAnswer(200, [("content-type", content_type)], b""), start
    prelude, end, body = start.partition(PRELUDE_END)
    if not end:
        return (internal_error(), b"") if len(start) > PRELUDE_LIMIT_BYTES else None
    try:
        answer = json.loads(prelude)
        if not isinstance(answer, dict):
            raise TypeError("the prelude is no object")
        return HttpAnswer(_parse_status(answer.get("statusCode", 200)), _parse_headers(answer), b""), body
    except (ValueError, TypeError, RecursionError):
        return internal_error(), b""


def _parse_status(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError("statusCode is no number")
    status = int(value)
    if not 200 <= status <= 599:
        raise ValueError("statusCode is out of range")
    return status


def _parse_headers(answer: dict[str, Any]) -> list[tuple[str, str]]:
    headers = answer.get("headers") or {}
    if not isinstance(headers, dict):
        raise TypeError("headers is no object")
    pairs = [(name.lower(), _text(value)) for name, value in headers.items()]
    pairs += [("set-cookie", _text(value)) for value in answer.get("cookies") or []]
    for name, value in pairs:
        if not (_TOKEN.fullmatch(name) and _VALUE.fullmatch(value)):
            raise ValueError("a header cannot be sent")
    kept = [pair for pair in pairs if pair[0] not in CONNECTION_HEADERS]
    if not any(name == "content-type" for name, _ in kept):
        kept.insert(0, ("content-type", "text/plain;charset=UTF-8"))
    return kept


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        text = str(value)
        text.encode()  # half a surrogate pair cannot be sent
        return text
    raise TypeError("a header's value is no text")


def _parse_body(answer: dict[str, Any]) -> bytes:
    body = answer.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        body = json.dumps(body)
    return msgspec.convert(body, bytes) if answer.get("isBase64Encoded") is True else body.encode()
