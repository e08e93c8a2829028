"""CPU of an instance per warm invocation of a trivial handler: handler process and agent together, from /proc.

One caller, whose next request follows each answer, on one core with the instance (`cores`); each request has another
request id and trace id, as from a gateway. What the instance prints goes into a pipe that somebody reads, as in a pod.

Beside it, with the same request and handler: the usual Flask-based functions framework; AWS's own runtime client, with
a Runtime API that always has the next invocation ready; and a minimal loop, which loads the JSON, calls the handler
and sends the answer, with no check, log, deadline or context.

Run: python -m benchmarks.instance_cpu [CALLS]
"""

import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.runtime.agent_client import INVOKE_TOKEN, Agent

from benchmarks.cores import one_core
from benchmarks.figure import Beside, Budget, Figure, Peer
from benchmarks.peers import functions_framework, runtime_interface_client
from benchmarks.processes import Child, running
from benchmarks.report import beside_text, value_text
from benchmarks.warm_path import cpu_us_per_call

CALLS = 20_000
ROUNDS = 10
PEER_CALLS = 4000
HANDLER = "def lambda_handler(event, context):\n    return {'statusCode': 200, 'body': 'Hello, ' + event['name']}\n"
BODY = json.dumps({"name": "World"}).encode()


def invocation(number: int) -> bytes:
    """A request as the gateway writes it."""
    return (
        f"POST /invoke HTTP/1.1\r\nhost: funclet\r\nx-funclet-token: {INVOKE_TOKEN}\r\n"
        f"content-type: application/json\r\n"
        f"lambda-runtime-aws-request-id: {uuid.UUID(int=number)}\r\n"
        f"lambda-runtime-trace-id: Root=1-5759e988-{number:024x};Parent={number:016x};Sampled=0;Lineage=0afeb12c:1\r\n"
        f"content-length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY


INVOCATIONS = [invocation(number) for number in range(1000)]


@one_core()
def measure(calls: int = CALLS) -> Figure:
    """The instance beside all of them."""
    beside = Beside()
    beside.add("Flask functions-framework", measure_framework)
    beside.add("AWS's awslambdaric", measure_runtime_client)
    own, minimal = measure_own_and_minimal(calls)
    peers = [
        *beside.peers,
        Peer("minimal Python loop", minimal),
        Peer("Fission 1.27 Python environment", 149, source="measured earlier on such a machine"),
    ]
    return Figure("instance_cpu_us", own, "µs", Budget(20), peers, why=beside.why)


def measure_own_and_minimal(calls: int) -> list[float]:
    """Agent with handler process, and the minimal loop: medians of rounds in which the two take turns."""
    with specialised_agent() as agent, minimal_server() as minimal:
        servers = [Child(agent.process.pid, agent.slots), minimal]
        rounds = [[cpu_us(server, calls // ROUNDS) for server in servers] for _ in range(ROUNDS)]
    return [statistics.median(values) for values in zip(*rounds, strict=True)]


def cpu_us(server: Child, calls: int) -> float:
    """Of a warm invocation."""
    return cpu_us_per_call(lambda: server.cpu_seconds, server.port, calls, 1, INVOCATIONS)


@contextlib.contextmanager
def specialised_agent() -> Iterator[Agent]:
    """A real agent whose trivial handler is initialised."""
    with tempfile.TemporaryDirectory() as folder, read_pipe() as pipe, Agent(Path(folder), output=pipe) as agent:
        agent.specialise(HANDLER)
        agent.invoke({"name": "World"})
        yield agent


@contextlib.contextmanager
def read_pipe() -> Iterator[int]:
    """Where an instance prints to: a pipe that a container runtime reads."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader:
        assert reader.stdin is not None
        yield reader.stdin.fileno()


def measure_framework() -> float:
    """gunicorn's processes."""
    with functions_framework() as child:
        return cpu_us_per_call(lambda: child.cpu_seconds, child.port, PEER_CALLS, 1)


def measure_runtime_client() -> float:
    """The runtime client's process."""
    with running(sys.executable, "-m", "benchmarks.servers", "runtime_api", 1000) as api:
        assert api.stdout is not None
        with runtime_interface_client(int(api.stdout.readline())) as child:
            thousands_done(api, 2)
            before = child.cpu_seconds
            thousands_done(api, PEER_CALLS // 1000)
            return (child.cpu_seconds - before) / PEER_CALLS * 1e6


def thousands_done(api: subprocess.Popen[str], count: int) -> None:
    """Waits until the Runtime API has had so many thousand responses more."""
    assert api.stdout is not None
    for _ in range(count):
        if not api.stdout.readline():
            raise RuntimeError("the Runtime API ended")


@contextlib.contextmanager
def minimal_server() -> Iterator[Child]:
    """The minimal loop in a process of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:
        minimal_loop(listener)
    try:
        yield Child(pid, [listener.getsockname()[1]])
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        listener.close()


def minimal_loop(listener: socket.socket) -> None:
    """The least that a Python process can do for the same request."""
    names: dict[str, object] = {}
    exec(HANDLER, names)
    handler = names["lambda_handler"]
    while True:
        connection, _ = listener.accept()
        while data := connection.recv(65536):
            event = json.loads(data[data.find(b"\r\n\r\n") + 4 :])
            body = json.dumps(handler(event, None)).encode()  # type: ignore[operator]
            connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))


if __name__ == "__main__":
    figure = measure(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS)
    print(f"instance: {value_text(figure)} of CPU per warm invocation; {beside_text(figure)}")
    sys.exit(not figure.is_within)
