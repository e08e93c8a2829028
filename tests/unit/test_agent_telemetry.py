"""What the agent makes of a subscription to telemetry, and how it buffers and delivers."""

import json
from typing import Any

import pytest

from funclet_agent.courier import find_status
from funclet_agent.extensions import RefusedError
from funclet_agent.telemetry import Buffer, encode, read_object
from funclet_agent.telemetry_subscription import LOGS_API, TELEMETRY_API, Api, Subscription, read_subscription

HTTP = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/logs"}
REQUEST: dict[str, Any] = {"schemaVersion": "2022-12-13", "types": ["platform", "function"], "destination": HTTP}


def read(api: Api = TELEMETRY_API, **changes: Any) -> Subscription:
    return read_subscription(json.dumps({**REQUEST, **changes}).encode(), api)


def test_a_request_in_order() -> None:
    found = read()
    assert (found.is_http, found.port, found.path, found.method) == (True, 8080, "/logs", "POST")
    assert (found.max_items, found.max_bytes, found.timeout_ns) == (10_000, 262_144, 1_000_000_000)


@pytest.mark.parametrize("host", ["sandbox.localdomain", "sandbox", "127.0.0.1", "localhost"])
def test_a_listener_is_inside_the_environment(host: str) -> None:
    assert read(destination={"protocol": "HTTP", "URI": f"http://{host}:1234"}).path == "/"


@pytest.mark.parametrize("destination", [{"port": 5000}, {"URI": "http://sandbox.localdomain:5000"}])
def test_tcp_wants_a_port(destination: dict[str, Any]) -> None:
    found = read(destination={"protocol": "TCP", **destination})
    assert (found.is_http, found.port) == (False, 5000)
    assert found.frame([b"1", b"2"]) == b"1\n2\n"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"types": []}, "types should not be empty"),
        ({"types": ["platform", "traces"]}, "types should be of platform, function, extension, not 'traces'"),
        ({"types": [{}]}, "types should be of"),
        ({"types": ["platform", "platform"]}, "types should be unique"),
        ({"schemaVersion": "2020-08-15"}, "schemaVersion should be one of 2022-07-01, 2022-12-13, 2025-01-29"),
        ({"schemaVersion": None}, "schemaVersion should be one of"),
        ({"schemaVersion": []}, "schemaVersion should be one of"),
        ({"destination": None}, "destination should be an object"),
        ({"destination": {**HTTP, "protocol": "UDP"}}, "protocol should be HTTP or TCP, not 'UDP'"),
        ({"destination": {**HTTP, "method": "GET"}}, "method should be POST or PUT, not 'GET'"),
        ({"destination": {**HTTP, "URI": "http://sandbox.localdomain"}}, "URI port is not provided"),
        ({"destination": {**HTTP, "URI": "https://sandbox.localdomain:1"}}, "URI should begin with http://"),
        ({"destination": {**HTTP, "URI": "http://example.com:80"}}, "URI host should be sandbox.localdomain"),
        ({"destination": {**HTTP, "URI": "http://sandbox:9001"}}, "port 9001 is reserved"),
        ({"destination": {**HTTP, "URI": "http://sandbox:99999"}}, "URI 'http://sandbox:99999' is none"),
        ({"destination": {**HTTP, "URI": "http://sandbox:80/a b"}}, "URI path should be percent-encoded"),
        ({"destination": {**HTTP, "URI": 5}}, "URI should begin with http://"),
        ({"destination": {"protocol": "TCP", "port": "5"}}, "port should be 1 to 65535, not '5'"),
        ({"destination": {"protocol": "TCP", "port": 70_000}}, "port should be 1 to 65535, not 70000"),
        ({"buffering": []}, "buffering should be an object"),
        ({"buffering": {"timeoutMs": 24}}, "timeoutMs should be between 25 and 30000, not 24"),
        ({"buffering": {"maxItems": 10_001}}, "maxItems should be between 1000 and 10000, not 10001"),
        ({"buffering": {"maxBytes": "262144"}}, "maxBytes should be between 262144 and 1048576, not '262144'"),
        ({"buffering": {"maxBytes": True}}, "maxBytes should be between"),
    ],
)
def test_a_request_that_is_not(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusedError) as refused:
        read(**changes)
    told = json.loads(refused.value.body)
    assert (refused.value.status, told["errorType"]) == (400, "ValidationError")
    assert words in told["errorMessage"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 60_000])
def test_a_body_that_is_no_object(body: bytes) -> None:
    with pytest.raises(RefusedError, match="the body"):
        read_subscription(body, LOGS_API)


@pytest.mark.parametrize(
    ("api", "version", "kind", "wanted"),
    [
        (TELEMETRY_API, "2022-07-01", "platform.initStart", True),
        (TELEMETRY_API, "2022-07-01", "platform.end", False),
        (TELEMETRY_API, "2022-07-01", "function", True),
        (TELEMETRY_API, "2022-07-01", "extension", False),
        (LOGS_API, "2020-08-15", "platform.end", True),
        (LOGS_API, "2020-08-15", "platform.initStart", False),
        (LOGS_API, "2020-08-15", "platform.runtimeDone", False),
        (LOGS_API, "2021-03-18", "platform.runtimeDone", True),
    ],
)
def test_each_schema_has_its_events(api: Api, version: str, kind: str, wanted: bool) -> None:
    assert read(api, schemaVersion=version).takes(kind) is wanted


def test_a_buffer_is_due_when_its_first_event_has_waited() -> None:
    buffer = Buffer(read(buffering={"timeoutMs": 100}))
    assert buffer.due_at is None
    buffer.add(b"1", now=7)
    buffer.add(b"2", now=8)
    assert buffer.due_at == 100_000_007
    assert buffer.take() == [b"1", b"2"]
    assert buffer.due_at is None


def test_at_the_end_nothing_waits_for_long() -> None:
    buffer = Buffer(read(buffering={"timeoutMs": 30_000}))
    buffer.add(b"1", now=7)
    buffer.hurry(now=8)
    assert buffer.due_at == 8
    buffer.take()
    buffer.add(b"2", now=9)
    assert buffer.due_at == 25_000_009


@pytest.mark.parametrize(("size", "taken"), [(10, 1_000), (1_000, 263)])
def test_a_buffer_takes_no_more_than_was_asked_for_and_counts_the_rest(size: int, taken: int) -> None:
    buffer = Buffer(read(buffering={"maxItems": 1_000}))
    for _ in range(1_500):
        buffer.add(b"x" * size, now=0)
    *events, last = buffer.take()
    assert len(events) == taken
    lost = json.loads(last)
    assert lost["type"] == "platform.logsDropped"
    assert (lost["record"]["droppedRecords"], lost["record"]["droppedBytes"]) == (1_500 - taken, size * (1_500 - taken))
    assert buffer.take() == []


def test_only_who_takes_platform_events_is_told_of_what_was_dropped() -> None:
    buffer = Buffer(read(types=["function"]))
    buffer.drop(1, 10)
    assert buffer.take() == []


def test_an_event() -> None:
    event = json.loads(encode("function", "ü"))
    assert (event["type"], event["record"], event["time"][-1]) == ("function", "ü", "Z")


@pytest.mark.parametrize(
    ("line", "record"), [('{"a": 1}', {"a": 1}), ("[1]", "[1]"), ("{", "{"), ("[" * 60_000, "[" * 60_000)]
)
def test_a_line_is_an_object_or_text(line: str, record: object) -> None:
    assert read_object(line) == record


@pytest.mark.parametrize(
    ("answer", "ended", "status"),
    [
        (b"", False, None),
        (b"", True, 0),
        (b"HTTP/1.1 200 OK\r\n", True, 0),
        (b"HTTP/1.1 200 OK\r\n\r\n", False, None),
        (b"HTTP/1.1 200 OK\r\n\r\n", True, 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", False, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", False, 200),
        (b"HTTP/1.1 500 No\r\ncontent-length:0\r\n\r\n", False, 500),
        (b"SSH-2.0\r\n\r\n", True, 0),
        (b"x" * 70_000, False, 0),
    ],
)
def test_an_answer_is_whole_or_not(answer: bytes, ended: bool, status: int | None) -> None:
    assert find_status(answer, ended=ended) == status
