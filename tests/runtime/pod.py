"""What a pod is to its containers: a process namespace, in which agent and runtime have a mount namespace each."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tests.ports import free_port
from tests.runtime.agent_client import AGENT, Agent, children, wait_until
from tests.runtime.bootstraps import BOOTSTRAP

AWAIT_API = """
import os, socket, time
host, port = os.environ['AWS_LAMBDA_RUNTIME_API'].split(':')
while socket.socket().connect_ex((host, int(port))):
    time.sleep(0.01)
"""
"""The kubelet starts the runtime when the agent listens; here the runtime waits by itself."""


class Pod:
    """A context manager; at its end all processes in it end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._log = (folder / "runtime.log").open("wb")
        namespaces = ("--pid", "--mount", "--fork", "--kill-child", "--mount-proc")
        self._outside = subprocess.Popen(["unshare", *namespaces, "sleep", "infinity"])
        wait_until(lambda: bool(children(self._outside.pid)))
        [self._first] = children(self._outside.pid)
        wait_until(lambda: "sleep" in Path(f"/proc/{self._first}/comm").read_text())

    def __enter__(self) -> "Pod":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._outside.kill()
        self._outside.wait(60)
        self._log.close()

    @property
    def _enter(self) -> list[str]:
        return ["nsenter", "--target", str(self._first), "--pid", "--mount"]

    @property
    def log(self) -> str:
        """What the runtime has printed."""
        return (self.folder / "runtime.log").read_text()

    @property
    def processes(self) -> list[str]:
        """The names of all that runs here; what is dead has none."""
        return [name for pid in self._pids if (name := _command(pid)[0])]

    def run(self, *command: str) -> subprocess.Popen[bytes]:
        """In the agent's container."""
        return subprocess.Popen([*self._enter, *command])

    def terminate_agent(self) -> None:
        """What the kubelet does at the end of a pod."""
        [agent] = [pid for pid in self._pids if str(AGENT) in _command(pid)]
        os.kill(agent, signal.SIGTERM)

    @property
    def _pids(self) -> list[int]:
        """Of the processes in it, as they are known outside."""
        inside = _namespace(self._first)
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _namespace(pid) == inside]

    def start_runtime(self, body: str) -> subprocess.Popen[bytes]:
        """A container with a runtime of this body (bootstraps.py). What is returned ends with it."""
        program = self.folder / "runtime.py"
        program.write_text(AWAIT_API + BOOTSTRAP + body)
        return subprocess.Popen(
            [*self._enter, "unshare", "--mount", sys.executable, "-Iu", str(program)],
            env={**os.environ, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.port}"},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def start_agent(self) -> Agent:
        """The agent's container; returns when the agent has found the runtime."""
        return Agent(self.folder, prefix=self._enter, FUNCLET_RUNTIME_API_PORT=str(self.port))


def _namespace(pid: int) -> str:
    """The process namespace that a process is in; empty if it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def _command(pid: int) -> list[str]:
    """Program and arguments; one empty word for a process that is dead."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return [""]
