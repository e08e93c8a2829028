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
RESTART_SECONDS = 0.2


class MortalHouse:
    """`folder` holds the resources' files in `resources`, and all that the processes write."""

    def __init__(self, folder: Path) -> None:
        self.resources, self._folder = folder / "resources", folder
        self._nats_port = free_port()
        for name in ("resources", "instances", "logs"):
            (folder / name).mkdir(exist_ok=True)
        self.settings = Settings(
            resources=str(self.resources), instances=str(folder / "instances"),
            nats_url=f"nats://127.0.0.1:{self._nats_port}", gateway_port=free_port(), scaler_port=free_port(),
            token=secrets.token_hex(16), secret=secrets.token_hex(32),
        )  # fmt: skip
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._turn = threading.Lock()
        self._open = True
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Self:
        for role in ROLES:
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
        if role == "nats":
            store = str(self._folder / "jetstream")
            return [find_binary(), "-a", "127.0.0.1", "-p", str(self._nats_port), "-js", "-sd", store]
        return [sys.executable, "-m", "tests.e2e.local.role_process", role, self.settings.to_json()]
