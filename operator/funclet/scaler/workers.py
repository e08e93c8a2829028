"""Background jobs: so many at a time, fair between keys, urgent lanes first."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from funclet.core.fairness import FairQueue

log = logging.getLogger(__name__)

Job = Callable[[], Awaitable[None]]


class Workers:
    """Runs jobs as tasks. A job that raises is logged: what it does about a failure is its own affair.

    `on_free` is called when a job has ended and none waits for its place.
    """

    def __init__(self, limit: int, on_free: Callable[[], None] = lambda: None) -> None:
        self._limit = limit
        self._on_free = on_free
        self._queue: FairQueue[Job] = FairQueue()
        self._running: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Task[None]] = set()
        self._stopped = False

    @property
    def has_room(self) -> bool:
        """Whether a job that is submitted now begins at once."""
        return len(self._running) < self._limit

    @property
    def is_idle(self) -> bool:
        """Whether no job runs."""
        return not self._running

    def submit(self, key: str, job: Job, lane: int = 0) -> None:
        """Run a job as soon as it is its key's turn."""
        self._queue.push(key, job, lane)
        self._pump()

    def submit_later(self, seconds: float, key: str, job: Job, lane: int = 0) -> None:
        """Submit a job after a while."""
        task = asyncio.create_task(self._wait(seconds, key, job, lane))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def stop(self) -> None:
        """Cancel whatever runs or waits."""
        self._stopped = True
        running = [*self._running, *self._waiting]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _wait(self, seconds: float, key: str, job: Job, lane: int) -> None:
        await asyncio.sleep(seconds)
        self.submit(key, job, lane)

    def _pump(self) -> None:
        while not self._stopped and len(self._running) < self._limit:
            job = self._queue.pop()
            if job is None:
                return
            task = asyncio.create_task(self._run(job))
            self._running.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._pump()
        if not self._stopped and self.has_room:
            self._on_free()

    async def _run(self, job: Job) -> None:
        try:
            await job()
        except Exception:  # the outermost line of every job
            log.exception("job failed")
