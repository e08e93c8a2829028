"""Handlers that return a generator: bit by bit to a caller who reads a stream, whole to every other."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.runtime.agent_client import Agent, Connection, wait_until

CODE = """
import os, sys, time
def lambda_handler(event, context):
    kind = event["kind"]
    if kind == "plain":
        return {"plain": True}
    return pieces(kind, event)

def pieces(kind, event):
    print("begun")
    if kind == "prelude":
        yield {"statusCode": 201, "headers": {"x-who": "me"}}
    if kind == "early":
        raise KeyError("early")
    yield "one, "
    if kind == "gate":
        while not os.path.exists(event["gate"]):
            time.sleep(0.005)
    yield b"two, "
    yield ""
    if kind == "late":
        raise KeyError("late")
    if kind == "long":
        raise KeyError("x" * 100_000)
    if kind == "wrong":
        yield {"no": "bytes"}
    if kind == "exit":
        os._exit(3)
    if kind == "sleep":
        time.sleep(60)
    if kind == "large":
        for _ in range(20):
            yield b"x" * 1_000_000
    if kind == "endless":
        try:
            while True:
                yield b"x" * 1_000_000
        finally:
            open(event["gate"], "w").close()
    yield bytearray(b"three")
"""


@pytest.fixture
def streaming(agent: Agent) -> Agent:
    assert agent.specialise(CODE, timeout_seconds=1, memory_mib=512).status == 200
    return agent


def ask(agent: Agent, kind: str, gate: Path | str = "") -> Connection:
    """Invoke as a caller who reads a stream."""
    event = {"kind": kind, "gate": str(gate)}
    return agent.send(event, x_amz_log_type="Tail", lambda_runtime_function_response_mode="streaming")


def read(connection: Connection) -> tuple[bytes, Mapping[str, str]]:
    """All chunks together, and the trailers."""
    assert connection.receive_head()["content-type"] == "application/octet-stream"
    body = b""
    while chunk := connection.receive_chunk():
        body += chunk
    return body, connection.receive_trailers()


def error_of(trailers: Mapping[str, str]) -> dict[str, str]:
    error = json.loads(base64.b64decode(trailers["lambda-runtime-function-error-body"]))
    assert trailers["lambda-runtime-function-error-type"] == error["errorType"]
    return dict(error)


def test_pieces_come_when_they_are_made(streaming: Agent, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    connection = ask(streaming, "gate", gate)
    connection.receive_head()
    assert connection.receive_chunk() == b"one, "
    gate.touch()
    assert [connection.receive_chunk() for _ in range(3)] == [b"two, ", b"three", b""]
    trailers = connection.receive_trailers()
    assert int(trailers["x-funclet-duration-us"]) > 0
    assert int(trailers["x-funclet-init-us"]) > 0
    assert int(trailers["x-funclet-max-memory-mib"]) > 0
    assert b"begun\n" in base64.b64decode(trailers["x-amz-log-result"])
    assert b"REPORT RequestId" in base64.b64decode(trailers["x-amz-log-result"])
    again, warm = read(ask(streaming, "whole"))
    assert again == b"one, two, three"
    assert "x-funclet-init-us" not in warm


def test_a_caller_who_wants_it_whole_gets_it_whole(streaming: Agent) -> None:
    answer = streaming.invoke({"kind": "whole"})
    assert (answer.status, answer.body) == (200, b"one, two, three")
    answer = streaming.invoke({"kind": "large"})
    assert answer.json["errorType"] == "Function.ResponseSizeTooLarge"
    answer = streaming.invoke({"kind": "late"})
    assert (answer.headers["x-amz-function-error"], answer.json["errorType"]) == ("Unhandled", "KeyError")


def test_status_and_headers_for_a_caller_by_http_come_first(streaming: Agent) -> None:
    connection = ask(streaming, "prelude")
    assert connection.receive_head()["content-type"] == "application/vnd.awslambda.http-integration-response"
    assert connection.receive_chunk() == b'{"statusCode": 201, "headers": {"x-who": "me"}}' + bytes(8)
    assert [connection.receive_chunk() for _ in range(4)] == [b"one, ", b"two, ", b"three", b""]
    connection.receive_trailers()


def test_a_handler_that_does_not_stream_answers_whole(streaming: Agent) -> None:
    assert ask(streaming, "plain").receive().json == {"plain": True}


def test_what_fails_before_the_first_piece_is_an_ordinary_error(streaming: Agent) -> None:
    answer = ask(streaming, "early").receive()
    assert (answer.headers["x-amz-function-error"], answer.json["errorType"]) == ("Unhandled", "KeyError")


@pytest.mark.parametrize(
    ("kind", "error_type", "text"),
    [
        ("late", "KeyError", "late"),
        ("wrong", "Runtime.MarshalError", "yields bytes or str, not dict"),
        ("exit", "Runtime.ExitError", "exit status 3"),
        ("sleep", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
    ],
)
def test_what_fails_half_way_says_so_at_the_end(streaming: Agent, kind: str, error_type: str, text: str) -> None:
    body, trailers = read(ask(streaming, kind))
    assert body == b"one, two, "
    error = error_of(trailers)
    assert error["errorType"] == error_type
    assert text in error["errorMessage"]
    assert trailers["x-amz-function-error"] == "Unhandled"
    wait_until(lambda: "END RequestId" in streaming.log)


def test_the_function_goes_on_after_each_of_these(streaming: Agent) -> None:
    for kind in ("late", "exit", "early"):
        connection = ask(streaming, kind)
        if kind == "early":
            assert connection.receive().json["errorType"] == "KeyError"
        else:
            _, trailers = read(connection)
            if trailers.get("connection") == "close":
                streaming.forget(0)
    assert streaming.invoke({"kind": "plain"}).json == {"plain": True}


def test_an_error_that_is_too_long_for_a_trailer_is_shortened(streaming: Agent) -> None:
    _, trailers = read(ask(streaming, "long"))
    error = error_of(trailers)
    assert error["errorType"] == "KeyError"
    assert 500 < len(error["errorMessage"]) < 10_000


def test_a_caller_who_does_not_read_holds_up_the_function_until_its_timeout(streaming: Agent, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    connection = ask(streaming, "endless", gate)
    wait_until(lambda: "Task timed out after 1.00 seconds" in streaming.log)
    assert not gate.exists()
    with pytest.raises(ConnectionError):
        read(connection)
    streaming.forget(0)
    assert streaming.invoke({"kind": "plain"}).json == {"plain": True}


def test_a_caller_who_goes_away_ends_the_generator(streaming: Agent, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    connection = ask(streaming, "endless", gate)
    connection.receive_head()
    streaming.forget(0)
    wait_until(gate.exists)
    assert streaming.invoke({"kind": "plain"}).json == {"plain": True}
