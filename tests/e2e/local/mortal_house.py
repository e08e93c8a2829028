"""Funclet as processes that can be killed one by one, and that somebody starts again, as Kubernetes does."""

import secrets
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

from tests.e2e.local.role_process import Settings
from tests.e2e.worlds import ROOT
from tests.ports import free_port

from funclet.adapters.nats_server import find_binary

ROLES = ("nats", "scaler", "gateway", "events")
"""All processes of a house with one NATS server."""
RESTART_SECONDS = 0.2


class MortalHouse:
    """`folder` holds the resources' files in `resources`, and all that the processes write.

    With several NATS servers they are called nats-0, nats-1 …, and all of them hold each message.
    """

    def __init__(self, folder: Path, servers: int = 1) -> None:
        self.resources, self._folder = folder / "resources", folder
        names = ("nats",) if servers == 1 else tuple(f"nats-{number}" for number in range(servers))
        self._nats_ports = {name: free_port() for name in names}
        self._routes = {name: free_port() for name in names}
        self._roles = (*names, *ROLES[1:])
        for name in ("resources", "instances", "logs"):
            (folder / name).mkdir(exist_ok=True)
        self.settings = Settings(
            resources=str(self.resources), instances=str(folder / "instances"),
            nats_url=f"nats://127.0.0.1:{self._nats_ports[names[0]]}", gateway_port=free_port(),
            scaler_port=free_port(), stream_replicas=servers,
            token=secrets.token_hex(16), secret=secrets.token_hex(32),
        )  # fmt: skip
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._turn = threading.Lock()
        self._open = True
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Self:
        for role in self._roles:
            self._start(role)
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        self._keeper.join()
        for process in self._processes.values():
            process.kill()
            process.wait()

    def kill(self, role: str) -> None:
        """kill -9."""
        with self._turn:
            self._processes[role].kill()

    def log(self, role: str) -> str:
        """The end of what the role has said."""
        return (self._folder / "logs" / role).read_text()[-4000:]

    def _keep(self) -> None:
        while self._open:
            with self._turn:
                dead = [role for role, process in self._processes.items() if process.poll() is not None]
            time.sleep(RESTART_SECONDS)
            for role in dead:
                self._start(role)

    def _start(self, role: str) -> None:
        with self._turn, (self._folder / "logs" / role).open("ab") as log:
            self._processes[role] = subprocess.Popen(self._command(role), stdout=log, stderr=log, cwd=ROOT)

    def _command(self, role: str) -> list[str]:
        if role in self._nats_ports:
            store = str(self._folder / "jetstream" / role)
            server = [find_binary(), "-a", "127.0.0.1", "-p", str(self._nats_ports[role]), "-js", "-sd", store]
            return server + (self._cluster_options(role) if len(self._routes) > 1 else [])
        return [sys.executable, "-m", "tests.e2e.local.role_process", role, self.settings.to_json()]

    def _cluster_options(self, role: str) -> list[str]:
        routes = ",".join(f"nats://127.0.0.1:{port}" for port in self._routes.values())
        own = f"nats://127.0.0.1:{self._routes[role]}"
        return ["-n", role, "--cluster_name", "house", "--cluster", own, "--routes", routes]
