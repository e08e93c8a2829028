"""Asynchronous invocations of all functions: a worker for each that has events, none for the idle ones."""

import asyncio
import logging
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.aio.msg import Msg

from funclet.adapters.catalog import Catalog
from funclet.adapters.destinations import Destinations
from funclet.adapters.event_store import EventStore
from funclet.adapters.event_streams import (
    ACCEPTED_SUBJECT,
    StreamPolicy,
    find_key,
    list_waiting,
    make_streams,
    purge_abandoned,
)
from funclet.adapters.gateway_client import GatewayClient
from funclet.adapters.metrics import forget_events
from funclet.core.asynchronous import LONGEST_AGE_SECONDS
from funclet.core.backoff import RECONNECTION
from funclet.core.qualifiers import function_key
from funclet.core.revision import Revision
from funclet.errors import Unavailable
from funclet.events.attempt import EventRunner
from funclet.events.cancellation import cancel
from funclet.events.demand import DemandLedger
from funclet.events.settings import EventsSettings
from funclet.events.slots import Slots
from funclet.events.tracing import EventTracer
from funclet.events.worker import Worker

log = logging.getLogger(__name__)

SOURCE = "asynchronous invocations"
"""The name of this source in the ledger; no Trigger's key has a space."""
CONNECTION_LOOK_SECONDS = 0.5
LOOKS_BETWEEN_LISTS = 60
"""Every 30 s the stream is asked who has events, for what nobody told of: the telling is not durable."""


class AsynchronousInvocations:
    """Starts a worker when a function's event is told of, and after every connection for those that wait already."""

    def __init__(
        self,
        settings: EventsSettings,
        catalog: Catalog,
        client: Client,
        gateway: GatewayClient,
        slots: Slots,
        ledger: DemandLedger,
        tracer: EventTracer,
    ) -> None:
        self._settings = settings
        self._functions = catalog.functions
        self._client = client
        self._slots = slots
        self._ledger = ledger
        self._store = EventStore(client)
        self._destinations = Destinations(self._store, self._functions, catalog.aliases, settings.region)
        self._runner = EventRunner(
            self._functions, gateway, self._store, self._destinations, settings.region, settings.async_retry_seconds,
            tracer=tracer, aliases=catalog.aliases,
        )  # fmt: skip
        self._workers: dict[str, Worker] = {}
        self._waiting: set[str] = set()
        """Functions that have events and are not in the catalog (yet, or any more)."""
        self._retiring: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        catalog.on_function(self._change)

    def start(self) -> None:
        """Begins as soon as JetStream can be reached."""
        self._task = asyncio.create_task(self._run(), name="asynchronous invocations")

    async def stop(self) -> None:
        """Ends all workers in order; what they cannot finish is delivered again later."""
        task, self._task = self._task, None
        await cancel([task] if task else [])
        for key in list(self._workers):
            self._retire(key)
        await asyncio.gather(*self._retiring)
        await self._store.close()
        await self._destinations.close()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await make_streams(self._client, self._policy())
                await self._client.subscribe(f"{ACCEPTED_SUBJECT}.*.*", cb=self._on_accepted)
                break
            except Unavailable as error:
                failures += 1
                log.warning("streams not made", extra={"reason": error.reason, "detail": error.message})
                await asyncio.sleep(RECONNECTION.delay(failures))
        while True:
            try:
                await self._list()
            except Unavailable as error:
                log.warning("waiting events not listed", extra={"reason": error.reason})
            except Exception:
                log.exception("waiting events not listed")
            await self._rest()

    def _policy(self) -> StreamPolicy:
        settings = self._settings
        return StreamPolicy(settings.stream_replicas, settings.async_result_seconds, settings.dead_letter_seconds)

    async def _rest(self) -> None:
        """Until it is time to list again: at once after a new connection, which may have missed what was told."""
        connections = self._client.stats["reconnects"]
        for _ in range(LOOKS_BETWEEN_LISTS):
            await asyncio.sleep(CONNECTION_LOOK_SECONDS)
            if self._client.stats["reconnects"] != connections:
                return

    async def _list(self) -> None:
        for key in await list_waiting(self._client):
            if key in self._functions:
                self._wake(key)
            elif await purge_abandoned(self._client, key, datetime.now(UTC), LONGEST_AGE_SECONDS):
                log.warning("events of a deleted function dropped", extra={"function": key})
            else:
                self._waiting.add(key)

    async def _on_accepted(self, message: Msg) -> None:
        self._wake(find_key(message.subject))

    def _wake(self, key: str) -> None:
        worker = self._workers.get(key)
        if worker is not None:
            worker.notice()
        elif key not in self._functions:
            self._waiting.add(key)
        elif self._task is not None:
            self._begin(key)

    def _begin(self, key: str) -> None:
        worker = Worker(
            key,
            self._client,
            self._runner.run,
            slots=lambda: self._usable_slots(key),
            report=lambda backlog: self._ledger.put(key, SOURCE, backlog),
            ended=lambda: self._end(key),
        )
        self._workers[key] = worker
        self._slots.listen(key, worker.notice)
        worker.start()

    def _change(self, key: str, revision: Revision | None) -> None:
        if revision is None:
            if key == function_key(key):
                forget_events(key)
            if key in self._workers:
                self._waiting.add(key)
                self._retire(key)
        elif key in self._waiting or key in self._workers:
            self._waiting.discard(key)
            self._wake(key)

    def _end(self, key: str) -> None:
        self._forget(key)

    def _forget(self, key: str) -> Worker:
        worker = self._workers.pop(key)
        self._slots.forget(key, worker.notice)
        self._ledger.remove(key, SOURCE)
        return worker

    def _retire(self, key: str) -> None:
        worker = self._forget(key)
        worker.halt()
        task = asyncio.create_task(worker.stop(self._settings.stop_seconds), name=f"retire events of {key}")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _usable_slots(self, key: str) -> int:
        revision = self._functions.get(key)
        return 0 if revision is None else self._slots.count(key, revision.revision)
