"""Drives a real agent over its sockets: starts it, specialises it, invokes it."""

import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from funclet.adapters.parentage import adopt_orphans

AGENT = Path(__file__).parents[2] / "runtime-image" / "funclet_agent"
SPECIALISE_TOKEN = "specialise-token"
INVOKE_TOKEN = "invoke-token"
REQUEST_ID = "8f507cfc-xmpl-4697-b07a-ac58fc914c95"
TRACE_ID = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0"


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Connection:
    """One kept-alive connection to a port of the agent."""

    port: int
    timeout_seconds: float = 60
    _socket: socket.socket = field(init=False)
    _buffer: bytes = b""

    def __post_init__(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=self.timeout_seconds)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in (headers or {}).items())]
        lines.append(f"content-length: {len(body)}")
        self.send_raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    @property
    def socket(self) -> socket.socket:
        """To ask the kernel about it."""
        return self._socket

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> Answer:
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers["content-length"])
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Answer(int(first.split()[1]), headers, body)

    def receive_status(self) -> str:
        """The status line of an answer that is nothing else."""
        return self._until(b"\r\n\r\n").partition(b"\r\n")[0].decode()

    def receive_head(self) -> dict[str, str]:
        """The head of a stream."""
        line, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        assert line == "HTTP/1.1 200 OK"
        return _fields(lines)

    def receive_chunk(self) -> bytes:
        """The next chunk of a stream; empty: the trailers follow."""
        length = int(self._until(b"\r\n"), 16)
        if not length:
            return b""
        while len(self._buffer) < length + 2:
            self._more()
        chunk, self._buffer = self._buffer[:length], self._buffer[length + 2 :]
        return chunk

    def receive_trailers(self) -> dict[str, str]:
        """What follows the last chunk."""
        lines = []
        while line := self._until(b"\r\n").decode("latin-1"):
            lines.append(line)
        return _fields(lines)

    def _until(self, border: bytes) -> bytes:
        while border not in self._buffer:
            self._more()
        found, _, self._buffer = self._buffer.partition(border)
        return found

    def _more(self) -> None:
        data = self._socket.recv(1 << 20)
        if not data:
            raise ConnectionError("closed by the instance")
        self._buffer += data

    def is_closed_by_peer(self) -> bool:
        """Waits for the end of the stream."""
        return self._socket.recv(1) == b""

    def close(self) -> None:
        self._socket.close()


def _fields(lines: list[str]) -> dict[str, str]:
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def package(files: Mapping[str, str | bytes]) -> bytes:
    """A zip archive of these files; programs and scripts can be run."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if data.startswith((b"#!", b"\x7fELF")) else 0o100644) << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def specialisation(**changes: Any) -> dict[str, Any]:
    """A head with sensible values."""
    return {
        "function": "default/hello",
        "revision": "0123456789abcdef",
        "runtime": "python3.13",
        "handler": "index.lambda_handler",
        "timeout_seconds": 3,
        "memory_mib": 128,
        "concurrency": 1,
        "environment": {},
        "function_arn": "arn:aws:lambda:us-east-1:000000000000:function:hello",
        "function_version": "$LATEST",
        "region": "us-east-1",
        "log_format": "Text",
        **changes,
    }


class Agent:
    """A running agent; a context manager, which ends it.

    `adopts`: it gets orphans, as in a pod and in local mode. `user`: its user id. `output`: a descriptor, not its log.
    `prefix`: what starts the interpreter.
    """

    def __init__(
        self,
        folder: Path,
        *,
        adopts: bool = True,
        user: int | None = None,
        output: int | None = None,
        interpreter: str = sys.executable,
        prefix: Sequence[str] = (),
        **environment: str,
    ) -> None:
        self.task_root = folder / "task"
        self.opt_root = folder / "opt"
        self.runtime_root = folder / "runtime"
        self.log_path = folder / "log"
        self._log = self.log_path.open("wb")
        reading, writing = os.pipe()
        variables = {
            **os.environ,
            "FUNCLET_INSTANCE_NAME": "instance-1",
            "FUNCLET_SPECIALISE_TOKEN_SHA256": hashlib.sha256(SPECIALISE_TOKEN.encode()).hexdigest(),
            "FUNCLET_INVOKE_TOKEN_SHA256": hashlib.sha256(INVOKE_TOKEN.encode()).hexdigest(),
            "FUNCLET_AGENT_PORT": "0",
            "FUNCLET_SLOT_PORT": "0",
            "FUNCLET_BIND": "127.0.0.1",
            "FUNCLET_TASK_ROOT": str(self.task_root),
            "FUNCLET_OPT_ROOT": str(self.opt_root),
            "FUNCLET_RUNTIME_ROOT": str(self.runtime_root),
            "FUNCLET_READY_FD": str(writing),
            **environment,
        }
        command = [*prefix, interpreter, "-I", str(AGENT)]
        self.process = subprocess.Popen(
            command,
            env=variables,
            pass_fds=[writing],
            stdout=self._log if output is None else output,
            stderr=subprocess.STDOUT,
            user=user,
            preexec_fn=adopt_orphans if adopts else None,  # noqa: PLW1509  a system call, no lock
        )
        os.close(writing)
        with os.fdopen(reading) as ready:
            self.port = int(ready.readline())
        self.slots: list[int] = []
        self._connections: dict[int, Connection] = {}

    def __enter__(self) -> "Agent":
        return self

    def __exit__(self, *_: object) -> None:
        self.close_connections()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self._log.close()

    @property
    def log(self) -> str:
        """All that agent and function have printed."""
        return self.log_path.read_text()

    def control(self, method: str, path: str, body: bytes = b"", token: str = SPECIALISE_TOKEN) -> Answer:
        connection = Connection(self.port)
        try:
            connection.send(method, path, body, {"x-funclet-token": token})
            return connection.receive()
        finally:
            connection.close()

    def status(self) -> Any:
        return self.control("GET", "/v1/status").json

    def specialise(
        self, code: bytes | str | Mapping[str, str | bytes], layers: Sequence[bytes] = (), **changes: Any
    ) -> Answer:
        """Code is a zip, a text for index.py, or files; layers are zips."""
        if isinstance(code, str):
            code = {"index.py": code}
        archive = code if isinstance(code, bytes) else package(code)
        head = json.dumps(specialisation(layer_bytes=[len(layer) for layer in layers], **changes)).encode()
        body = b"".join([len(head).to_bytes(4, "big"), head, *layers, archive])
        answer = self.control("POST", "/v1/specialise", body)
        if answer.status == 200:
            self.slots = answer.json["slots"]
        return answer

    def close_connections(self) -> None:
        """As a gateway that goes away."""
        while self._connections:
            self._connections.popitem()[1].close()

    def invoke(self, event: Any = None, *, slot: int = 0, body: bytes | None = None, **headers: str) -> Answer:
        """Over a kept connection; header names are written with underscores."""
        self.send(event, slot=slot, body=body, **headers)
        answer = self._connections[slot].receive()
        if answer.headers.get("connection") == "close":
            self._connections.pop(slot).close()
        return answer

    def forget(self, slot: int) -> None:
        """Close the kept connection; the next invocation opens another."""
        self._connections.pop(slot).close()

    def send(self, event: Any = None, *, slot: int = 0, body: bytes | None = None, **headers: str) -> Connection:
        """Only the request."""
        if slot not in self._connections:
            self._connections[slot] = Connection(self.slots[slot])
        connection = self._connections[slot]
        lines = {
            "x-funclet-token": INVOKE_TOKEN,
            "lambda-runtime-aws-request-id": REQUEST_ID,
            "lambda-runtime-trace-id": TRACE_ID,
        }
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.send("POST", "/invoke", json.dumps(event).encode() if body is None else body, lines)
        return connection


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Poll a real condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not come true")
        time.sleep(0.005)


def is_over(pid: int) -> bool:
    """Whether a process has ended; who should have asked for its status may be gone too, and then it is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


def children(pid: int) -> list[int]:
    """The process ids of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def handler_pid(agent: Agent) -> int:
    """The only handler process of an agent."""
    [pid] = children(agent.process.pid)
    return pid
