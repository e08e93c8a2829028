"""Notes from this gateway to the others, to each in their order."""

import asyncio
import contextlib
import logging

import aiohttp

from funclet.core.messages import Peer, PeerNote

log = logging.getLogger(__name__)

NOTE_PATH = "/v1/peers/note"
TIMEOUT = aiohttp.ClientTimeout(total=2, sock_connect=0.5)
ATTEMPTS = 3
PAUSE_SECONDS = 0.05
CLOSE_SECONDS = 1.0


class Notes:
    """One queue and one task for each other gateway."""

    def __init__(self, token: str) -> None:
        self._headers = {"x-funclet-peer-token": token, "content-type": "application/json"}
        self._queues: dict[str, asyncio.Queue[PeerNote]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None

    def send(self, peer: Peer, note: PeerNote) -> None:
        """Deliver a note, after those before it. One that cannot be is dropped: its reader is as good as gone."""
        if peer.id not in self._tasks:
            queue = self._queues[peer.id] = asyncio.Queue()
            self._tasks[peer.id] = asyncio.get_running_loop().create_task(self._deliver(peer, queue))
        self._queues[peer.id].put_nowait(note)

    async def _deliver(self, peer: Peer, queue: "asyncio.Queue[PeerNote]") -> None:
        url = f"http://{peer.host}:{peer.port}{NOTE_PATH}"
        while True:
            note = await queue.get()
            try:
                await self._post(url, note)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("note not delivered", extra={"peer": peer.id, "detail": repr(error)})
            queue.task_done()

    async def _post(self, url: str, note: PeerNote) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._session.post(url, data=note.model_dump_json(), timeout=TIMEOUT) as answer:
                    answer.raise_for_status()
                return
            except (aiohttp.ClientError, TimeoutError, OSError):
                if attempt == ATTEMPTS:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)

    def drop(self, name: str) -> None:
        """This gateway is gone."""
        self._queues.pop(name, None)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Deliver what is left, then end all tasks and connections."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(*(queue.join() for queue in self._queues.values()))
        tasks = list(self._tasks.values())
        for name in list(self._tasks):
            self.drop(name)
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._session is not None:
            await self._session.close()
            self._session = None
