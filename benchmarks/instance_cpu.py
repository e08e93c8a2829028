"""CPU of an instance per warm invocation of a trivial handler: handler process and agent together, from /proc.

Beside it, on the same machine in the same run: a minimal loop, which receives the same request, loads its JSON, calls
the same handler and sends an answer, with no check, log, deadline or context.

Run: python -m benchmarks.instance_cpu [N]
"""

import json
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

from tests.runtime.agent_client import INVOKE_TOKEN, REQUEST_ID, Agent, handler_pid

HANDLER = "def lambda_handler(event, context):\n    return {'statusCode': 200, 'body': 'Hello, ' + event['name']}\n"
BODY = json.dumps({"name": "World"}).encode()
REQUEST = (
    f"POST /invoke HTTP/1.1\r\nx-funclet-token: {INVOKE_TOKEN}\r\nlambda-runtime-aws-request-id: {REQUEST_ID}\r\n"
    "lambda-runtime-trace-id: Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0\r\n"
    f"content-length: {len(BODY)}\r\n\r\n"
).encode() + BODY


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def call(port: int, count: int) -> None:
    """`count` invocations, one after the other, on one connection."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            connection.sendall(REQUEST)
            if b"Hello, World" not in connection.recv(65536):
                raise SystemExit("a wrong answer")


def measure(port: int, pids: list[int], count: int) -> float:
    """Microseconds of CPU an invocation, warm."""
    call(port, 2000)
    before = sum(map(cpu_seconds, pids))
    call(port, count)
    return (sum(map(cpu_seconds, pids)) - before) / count * 1e6


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


def measure_minimal(count: int) -> float:
    """The minimal loop in a process of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:
        minimal_loop(listener)
    try:
        return measure(listener.getsockname()[1], [pid], count)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def main() -> None:
    """Print both figures and their ratio."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    minimal = measure_minimal(count)
    with tempfile.TemporaryDirectory() as folder, Agent(Path(folder)) as agent:
        agent.specialise(HANDLER)
        agent.invoke({"name": "World"})
        started = time.monotonic()
        own = measure(agent.slots[0], [agent.process.pid, handler_pid(agent)], count)
        elapsed = time.monotonic() - started
    print(f"instance: {own:.1f} us of CPU per warm invocation (budget 20 us; {count} calls in {elapsed:.1f} s)")
    print(f"minimal loop, same request and handler: {minimal:.1f} us; ratio {own / minimal:.2f}")


if __name__ == "__main__":
    main()
