"""A handler process that dies between invocations, with bytes of a request that its successor will never see."""

import fcntl
import os
import signal
import socket
import struct
import termios
from pathlib import Path

import pytest
from tests.runtime.agent_client import Agent, Connection, handler_pid, wait_until
from tests.runtime.test_agent_requests import request

NOT_BEGUN = "HTTP/1.1 503 Not Begun"
CODE = """
import os
from funclet_agent.state import State

def die(*_):
    os.kill(os.getpid(), 9)

def lambda_handler(event, context):
    if event == "die with the next request in hand":
        State.begin = die
    return os.getpid()
"""


@pytest.fixture
def connection(agent: Agent) -> Connection:
    agent.specialise(CODE)
    return served(Connection(agent.slots[0]))


def served(connection: Connection) -> Connection:
    connection.send_raw(request(0, b"{}"))
    assert connection.receive().status == 200
    return connection


def send_and_see_read(connection: Connection, data: bytes) -> None:
    """Until the handler process has taken all of it from the kernel."""
    connection.send_raw(data)
    wait_until(lambda: unacknowledged(connection.socket) == 0 and unread(connection) == 0)


def unacknowledged(connection: socket.socket) -> int:
    """Bytes that the other end's kernel does not have yet (tcp(7), SIOCOUTQ)."""
    return int(struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0])


def unread(connection: Connection) -> int:
    """Bytes in the receive queue of the other end (proc(5))."""
    ours = connection.socket.getsockname()[1]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if (int(local.split(":")[1], 16), int(remote.split(":")[1], 16)) == (connection.port, ours):
            return int(queues.split(":")[1], 16)
    raise AssertionError("no such connection")


def waits(pid: int) -> bool:
    """Whether a process is in a system call that has nothing to tell yet."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def kill(agent: Agent) -> None:
    os.kill(handler_pid(agent), signal.SIGKILL)


@pytest.mark.parametrize("proven", [True, False], ids=["kept", "new"])
@pytest.mark.parametrize("part", [slice(40), slice(-8)], ids=["of the head", "of the body"])
def test_a_request_read_in_part_is_given_back(agent: Agent, connection: Connection, part: slice, proven: bool) -> None:
    partly = connection if proven else Connection(agent.slots[0])
    send_and_see_read(partly, request(1, b'"a body of some bytes"')[part])
    kill(agent)
    assert partly.receive_status() == NOT_BEGUN
    assert partly.is_closed_by_peer()
    served(Connection(agent.slots[0]))


def test_others_are_kept(agent: Agent, connection: Connection) -> None:
    partly = served(Connection(agent.slots[0]))
    send_and_see_read(partly, request(1, b"{}")[:40])
    wait_until(lambda: waits(handler_pid(agent)))
    kill(agent)
    assert partly.receive_status() == NOT_BEGUN
    served(connection)


def test_an_invocation_that_was_read_and_not_begun_is_given_back(agent: Agent, connection: Connection) -> None:
    connection.send_raw(request(1, b'"die with the next request in hand"'))
    first = connection.receive().json
    connection.send_raw(request(2, b"{}"))
    assert connection.receive_status() == NOT_BEGUN
    connection = Connection(agent.slots[0])
    connection.send_raw(request(2, b"{}"))
    assert connection.receive().json not in (None, first)


def test_a_request_that_nobody_has_read_is_the_successors(agent: Agent, connection: Connection) -> None:
    pid = handler_pid(agent)
    wait_until(lambda: waits(pid))  # it is idle now, and not in the middle of the answer
    os.kill(pid, signal.SIGSTOP)
    connection.send_raw(request(1, b"{}"))
    wait_until(lambda: unacknowledged(connection.socket) == 0)
    os.kill(pid, signal.SIGKILL)
    assert connection.receive().json not in (None, pid)
