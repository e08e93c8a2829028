"""Several gateway processes on one machine, on one port, and the process that looks after them.

The supervisor opens one listening socket for each worker (SO_REUSEPORT: the kernel spreads connections over them) and
one inbox for connections that its siblings hand over, and keeps both open: what a worker that has died had not taken
yet waits for the one that takes its place. It serves no callers. A worker that ends is started again; SIGTERM goes on
to all of them, and if the supervisor dies, they stop too.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence

import aiohttp

from funclet.adapters.health import HealthServer
from funclet.adapters.metrics_merge import merge
from funclet.adapters.parentage import be_terminated_with_parent
from funclet.core.backoff import RECONNECTION
from funclet.gateway.handover import open_inbox
from funclet.gateway.settings import GatewaySettings

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "funclet", "gateway")
BACKLOG = 4096
STEADY_SECONDS = 10.0
"""A worker that has run so long did not fail because of how it was started."""
GRACE_SECONDS = 5.0
"""Beyond the workers' own bounds on their ending."""
READY_TIMEOUT = aiohttp.ClientTimeout(total=2)
METRICS_TIMEOUT = aiohttp.ClientTimeout(total=8)
"""Below the 10 s that Prometheus waits: a worker that is busy for a moment would leave a gap in its series."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket beside others on the same port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    return listener


class Worker:
    """One worker's sockets and its current process."""

    def __init__(self, index: int, settings: GatewaySettings, port: int) -> None:
        self.index = index
        self.callers = listen(settings.host, port)
        self.health = listen("127.0.0.1", 0)
        self.entry, self.inbox = open_inbox()
        self.process: asyncio.subprocess.Process | None = None
        self.name = f"{settings.name or socket.gethostname()}-{index}"
        self._environment = {
            "FUNCLET_PROCESSES": "1",
            "FUNCLET_NAME": self.name,
            "FUNCLET_LISTEN_FD": str(self.callers.fileno()),
            "FUNCLET_METRICS_FD": str(self.health.fileno()),
            "FUNCLET_INBOX_FD": str(self.inbox.fileno()),
            "FUNCLET_PEER_PORT": str(settings.peer_port + index if settings.peer_port else 0),
        }

    @property
    def health_url(self) -> str:
        """Where it tells of itself."""
        return f"http://127.0.0.1:{self.health.getsockname()[1]}"

    async def start(
        self, command: Sequence[str], environment: Mapping[str, str], workers: Sequence["Worker"]
    ) -> asyncio.subprocess.Process:
        """A new process on the same sockets, beside these workers."""
        siblings = {worker.name: worker.entry.fileno() for worker in workers if worker is not self}
        own = (self.callers, self.health, self.inbox)
        self.process = await asyncio.create_subprocess_exec(
            *command,
            env={**environment, **self._environment, "FUNCLET_SIBLING_FDS": json.dumps(siblings)},
            pass_fds=(*(end.fileno() for end in own), *siblings.values()),
            preexec_fn=be_terminated_with_parent,
        )
        return self.process

    def close(self) -> None:
        """Close the sockets."""
        for end in (self.callers, self.health, self.entry, self.inbox):
            end.close()

    def terminate(self) -> None:
        """Ask the process to end."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()


class Supervisor:
    """All workers, and the port for probes and metrics. `port` is known after `start`."""

    def __init__(self, settings: GatewaySettings, command: Sequence[str] = COMMAND) -> None:
        self._settings = settings
        self._command = command
        self._workers: list[Worker] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False
        self._session: aiohttp.ClientSession | None = None
        self.health = HealthServer(settings.metrics_port, self._metrics, self._ready)
        self.port = settings.port

    @property
    def pids(self) -> list[int]:
        """Of the workers that run."""
        processes = (worker.process for worker in self._workers)
        return [process.pid for process in processes if process is not None and process.returncode is None]

    async def start(self) -> None:
        """Start all workers."""
        self._session = aiohttp.ClientSession()
        for index in range(self._settings.processes):
            worker = Worker(index, self._settings, self.port)
            self.port = worker.callers.getsockname()[1]
            self._workers.append(worker)
        self._keepers = [asyncio.create_task(self._keep(worker)) for worker in self._workers]
        await self.health.start()

    async def _keep(self, worker: Worker) -> None:
        """Run a worker, again and again."""
        loop = asyncio.get_running_loop()
        attempt = 0
        while not self._stopping:
            begun = loop.time()
            process = await worker.start(self._command, os.environ, self._workers)
            log.info("worker started", extra={"worker": worker.index, "worker_pid": process.pid})
            status = await process.wait()
            if self._stopping:
                return
            log.warning("worker ended", extra={"worker": worker.index, "status": status})
            attempt = 1 if loop.time() - begun > STEADY_SECONDS else attempt + 1
            await asyncio.sleep(RECONNECTION.delay(attempt))

    async def stop(self) -> None:
        """End all workers, as gently as the settings allow."""
        self._stopping = True
        for worker in self._workers:
            worker.terminate()
        settings = self._settings
        patience = settings.drain_seconds + settings.shutdown_seconds + GRACE_SECONDS
        _, late = await asyncio.wait(self._keepers, timeout=patience)
        for keeper in late:
            keeper.cancel()
        for worker in self._workers:
            if worker.process is not None and worker.process.returncode is None:
                worker.process.kill()
                await worker.process.wait()
            worker.close()
        await self.health.stop()
        if self._session is not None:
            await self._session.close()

    async def _ready(self) -> bool:
        """All workers are, or this machine would refuse some of its callers."""
        answers = await asyncio.gather(*(self._ask(worker, "/readyz", READY_TIMEOUT) for worker in self._workers))
        return not self._stopping and all(answer is not None for answer in answers)

    async def _metrics(self) -> bytes:
        texts = await asyncio.gather(*(self._ask(worker, "/metrics", METRICS_TIMEOUT) for worker in self._workers))
        return merge({str(index): text for index, text in enumerate(texts) if text is not None})

    async def _ask(self, worker: Worker, path: str, timeout: aiohttp.ClientTimeout) -> str | None:
        """What a worker says; None: it does not, or it says no."""
        assert self._session is not None
        try:
            async with self._session.get(worker.health_url + path, timeout=timeout) as answer:
                return await answer.text() if answer.ok else None
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None


async def supervise(settings: GatewaySettings, command: Sequence[str] = COMMAND) -> None:
    """Look after the workers until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    supervisor = Supervisor(settings, command)
    await supervisor.start()
    with contextlib.suppress(asyncio.CancelledError):
        await stopped.wait()
    await supervisor.stop()
