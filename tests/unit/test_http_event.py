"""API Gateway's payload format 2.0, and its response rules."""

import base64
import json
from datetime import UTC, datetime

import pytest

from funclet.core.http_event import HttpRequest, RouteContext, build_event, encode_event, parse_answer, split_stream

NOW = datetime(2026, 3, 1, 12, 30, 5, 250000, UTC)
ROUTE = RouteContext("GET /hello/{who}", {"who": "Wörld"}, "000000000000", "abc")


def build(request: HttpRequest) -> dict[str, object]:
    return build_event(request, ROUTE, "id-1", NOW)


def test_the_event() -> None:
    headers = [("Host", "shop.example"), ("X-A", "1"), ("x-a", "2"), ("Cookie", "c=1; d=2"), ("User-Agent", "curl")]
    event = build(HttpRequest("GET", "/hello/W%C3%B6rld", "name=World&a=1&a=2&e=", headers, b"", "10.0.0.1"))
    assert event == {
        "version": "2.0",
        "routeKey": "GET /hello/{who}",
        "rawPath": "/hello/Wörld",
        "rawQueryString": "name=World&a=1&a=2&e=",
        "cookies": ["c=1", "d=2"],
        "headers": {"host": "shop.example", "x-a": "1,2", "user-agent": "curl"},
        "queryStringParameters": {"name": "World", "a": "1,2", "e": ""},
        "pathParameters": {"who": "Wörld"},
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "abc",
            "domainName": "shop.example",
            "domainPrefix": "shop",
            "http": {
                "method": "GET",
                "path": "/hello/Wörld",
                "protocol": "HTTP/1.1",
                "sourceIp": "10.0.0.1",
                "userAgent": "curl",
            },
            "requestId": "id-1",
            "routeKey": "GET /hello/{who}",
            "stage": "$default",
            "time": "01/Mar/2026:12:30:05 +0000",
            "timeEpoch": 1772368205250,
        },
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("application/json; charset=utf-8", b'{"a":1}', '{"a":1}'),
        ("text/plain", "ü".encode(), "ü"),
        ("application/problem+json", b"{}", "{}"),
        ("application/octet-stream", b"\x00\xff", None),
        ("application/x-www-form-urlencoded", b"a=1", None),
        ("text/plain", b"\xff", None),
    ],
)
def test_bodies(content_type: str, body: bytes, text: str | None) -> None:
    event = build(HttpRequest("POST", "/", "", [("content-type", content_type)], body, ""))
    expected = base64.b64encode(body).decode() if text is None else text
    sent = json.loads(encode_event(event))
    assert (sent["body"], sent["isBase64Encoded"]) == (expected, text is None)


@pytest.mark.parametrize(
    ("answer", "status", "content_type", "body"),
    [
        ({"a": 1}, 200, "application/json", b'{"a": 1}'),
        ("text", 200, "application/json", b"text"),
        (None, 200, "application/json", b"null"),
        ({"statusCode": 204}, 204, "text/plain;charset=UTF-8", b""),
        ({"statusCode": "201", "body": "x"}, 201, "text/plain;charset=UTF-8", b"x"),
        ({"statusCode": 200, "body": {"a": 1}}, 200, "text/plain;charset=UTF-8", b'{"a": 1}'),
        ({"statusCode": 200, "body": "AP8=", "isBase64Encoded": True, "headers": {"Content-Type": "image/png"}},
         200, "image/png", b"\x00\xff"),
    ],
)  # fmt: skip
def test_answers(answer: object, status: int, content_type: str, body: bytes) -> None:
    parsed = parse_answer(json.dumps(answer).encode())
    assert (parsed.status, dict(parsed.headers)["content-type"], parsed.body) == (status, content_type, body)


def test_headers_and_cookies() -> None:
    answer = {
        "statusCode": 200,
        "headers": {"X-A": 1, "X-B": True, "Content-Length": "7", "Transfer-Encoding": "chunked"},
        "cookies": ["a=1", "b=2"],
    }
    headers = list(parse_answer(json.dumps(answer).encode()).headers)
    assert headers[1:] == [("x-a", "1"), ("x-b", "true"), ("set-cookie", "a=1"), ("set-cookie", "b=2")]


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": "abc"},
        {"statusCode": None},
        {"statusCode": True},
        {"statusCode": 99},
        {"statusCode": 101},
        {"statusCode": 600},
        {"statusCode": 200, "headers": {"a": "b\r\nset-cookie: x=1"}},
        {"statusCode": 200, "headers": {"a b": "c"}},
        {"statusCode": 200, "headers": {"a": ["c"]}},
        {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"a": "\ud800"}},
        {"statusCode": 200, "body": "\ud800"},
        "\ud800",
        {"statusCode": 200, "cookies": ["a=1\nb"]},
        {"statusCode": 200, "cookies": 7},
        {"statusCode": 200, "body": "%%%", "isBase64Encoded": True},
    ],
)
def test_what_cannot_be_sent_is_a_500(answer: object) -> None:
    parsed = parse_answer(json.dumps(answer).encode())
    assert (parsed.status, parsed.body) == (500, b'{"message": "Internal Server Error"}')


PRELUDE = "application/vnd.awslambda.http-integration-response"


@pytest.mark.parametrize(
    ("content_type", "start", "status", "headers", "body"),
    [
        ("text/plain", b"one", 200, {"content-type": "text/plain"}, b"one"),
        (PRELUDE, b'{"statusCode": 201, "headers": {"X-A": "b"}}' + bytes(8) + b"one", 201, {"x-a": "b"}, b"one"),
        (PRELUDE, b"{}" + bytes(8), 200, {"content-type": "text/plain;charset=UTF-8"}, b""),
        (PRELUDE, b'{"headers": {"Content-Length": "1"}}' + bytes(9), 200, {}, b"\0"),
        (PRELUDE, b"no JSON" + bytes(8), 500, {"content-type": "application/json"}, b""),
        (PRELUDE, b"[]" + bytes(8), 500, {}, b""),
        (PRELUDE, b'{"statusCode": 99}' + bytes(8), 500, {}, b""),
        (PRELUDE, b" " * 70_000, 500, {}, b""),
    ],
)
def test_the_head_of_a_streamed_response(
    content_type: str, start: bytes, status: int, headers: dict[str, str], body: bytes
) -> None:
    split = split_stream(content_type, start)
    assert split is not None
    head, rest = split
    assert (head.status, rest) == (status, body)
    assert headers.items() <= dict(head.headers).items()
    assert "content-length" not in dict(head.headers)


@pytest.mark.parametrize("start", [b"", b'{"statusCode": 200}', b'{"statusCode": 200}' + bytes(7)])
def test_a_head_that_is_not_complete_is_waited_for(start: bytes) -> None:
    assert split_stream(PRELUDE, start) is None
