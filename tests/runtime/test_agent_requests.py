"""What a gateway writes on a kept-alive connection, byte by byte, and what the function sees of it."""

import json

import pytest
from tests.runtime.agent_client import INVOKE_TOKEN, Agent, Connection, wait_until

SEEN = """
import os

def lambda_handler(event, context):
    return [event, context.aws_request_id, os.environ.get("_X_AMZN_TRACE_ID")]
"""
CHILDREN = """
import os
import subprocess

SAY = 'printf %s "$_X_AMZN_TRACE_ID"'

def of_fork(path):
    pid = os.fork()
    if pid == 0:
        os.execv("/bin/sh", ["sh", "-c", f"{SAY} > {path}"])
    os.waitpid(pid, 0)
    return open(path).read()

def of_system(path):
    os.system(f"{SAY} > {path}")
    return open(path).read()

def lambda_handler(event, context):
    return [
        os.environ["_X_AMZN_TRACE_ID"], subprocess.check_output(SAY, shell=True, text=True), os.popen(SAY).read(),
        of_fork(event), of_system(event), subprocess.check_output(["sh", "-c", SAY], text=True, start_new_session=True),
    ]
"""


def request(number: int, body: bytes, *, token: str = INVOKE_TOKEN, length: int | None = None) -> bytes:
    """An invocation as the gateway writes it."""
    return (
        f"POST /invoke HTTP/1.1\r\nhost: funclet\r\nx-funclet-token: {token}\r\ncontent-type: application/json\r\n"
        f"lambda-runtime-aws-request-id: request-{number}\r\nlambda-runtime-trace-id: Root=1-{number};Lineage=a:1\r\n"
        f"content-length: {len(body) if length is None else length}\r\n\r\n"
    ).encode() + body


@pytest.fixture
def connection(agent: Agent) -> Connection:
    """To a function that tells what it sees."""
    agent.specialise(SEEN)
    return Connection(agent.slots[0])


def test_each_request_of_a_connection_has_its_own_ids_and_body(connection: Connection) -> None:
    for number in range(4):
        connection.send_raw(request(number, b'{"n": %d}' % number))
        assert connection.receive().json == [{"n": number}, f"request-{number}", f"Root=1-{number};Lineage=a:1"]


def test_a_request_is_the_same_in_whichever_pieces_it_comes(connection: Connection) -> None:
    whole = request(7, json.dumps({"text": "x" * 100}).encode())
    for cut in range(0, len(whole), 11):
        connection.send_raw(whole[:cut])
        connection.send_raw(whole[cut:])
        assert connection.receive().json == [{"text": "x" * 100}, "request-7", "Root=1-7;Lineage=a:1"]


def test_a_large_body_is_read_whole(connection: Connection) -> None:
    for number, size in enumerate((60_000, 70_000, 1_000_000)):
        connection.send_raw(request(number, json.dumps("x" * size).encode()))
        assert connection.receive().json[0] == "x" * size


def test_a_connection_that_has_shown_the_token_must_show_it_again(connection: Connection) -> None:
    connection.send_raw(request(0, b"{}"))
    assert connection.receive().status == 200
    connection.send_raw(request(1, b"{}", token=INVOKE_TOKEN[:-1] + "?"))
    assert connection.receive().status == 401
    assert connection.is_closed_by_peer()


def test_more_than_the_content_length_is_refused(connection: Connection) -> None:
    connection.send_raw(request(0, b"{}"))
    assert connection.receive().status == 200
    connection.send_raw(request(1, b"{}{}", length=2))
    assert connection.receive().status == 400


def test_requests_of_the_usual_kind_and_others_take_turns(connection: Connection) -> None:
    unusual = request(1, b"{}").replace(b"content-length", b"x-amz-log-type: Tail\r\ncontent-length")
    for _ in range(2):
        connection.send_raw(request(0, b"{}"))
        assert "x-amz-log-result" not in connection.receive().headers
        connection.send_raw(unusual)
        answer = connection.receive()
        assert answer.json == [{}, "request-1", "Root=1-1;Lineage=a:1"]
        assert "x-amz-log-result" in answer.headers


def test_child_processes_inherit_the_trace_id_of_their_invocation(agent: Agent) -> None:
    agent.specialise(CHILDREN, timeout_seconds=60)
    connection = Connection(agent.slots[0], timeout_seconds=60)
    for number in range(2):
        connection.send_raw(request(number, json.dumps(str(agent.log_path.parent / "trace")).encode()))
        answer = connection.receive()
        assert answer.json == [f"Root=1-{number};Lineage=a:1"] * 6


UNFINISHED = """
import sys

def lambda_handler(event, context):
    if event == "print":
        print("one", end=" ")
        print("two", end="")
    elif event == "write":
        sys.stdout.writelines(["three", " ", "four"])
    elif event == "complain":
        sys.stderr.write("five")
"""


@pytest.mark.parametrize(("event", "text"), [("print", "one two"), ("write", "three four"), ("complain", "five")])
def test_a_line_without_an_end_is_in_the_log_of_its_invocation(agent: Agent, event: str, text: str) -> None:
    agent.specialise(UNFINISHED)
    agent.invoke(None)
    agent.invoke(event)
    agent.invoke(None)
    wait_until(lambda: agent.log.count("REPORT RequestId") == 3)
    lines = [line.split(" ")[0] if line[0].isupper() else line for line in agent.log.splitlines() if line[0] != "{"]
    quiet = ["START", "END", "REPORT"]
    assert lines == [*quiet, "START", text, "END", "REPORT", *quiet]
