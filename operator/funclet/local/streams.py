"""On a cluster a stream belongs to somebody else and must exist. Here nobody else is: missing ones are made."""

import asyncio
import contextlib

from nats.aio.client import Client
from nats.js.api import StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from funclet.adapters.catalog import Catalog
from funclet.adapters.streams import Streams
from funclet.api.trigger import JetStreamSource, Trigger
from funclet.core.resolve import StreamFacts
from funclet.local.report import Report

PATIENCE_SECONDS = 2.0
"""Control may see a Trigger before the keeper does."""


class StreamKeeper:
    """Makes the streams that Triggers name, with the subjects that they read."""

    def __init__(self, client: Client, report: Report) -> None:
        self._jetstream = client.jetstream()
        self._streams = Streams(client)
        self._report = report
        self._looked_at: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def follow(self, catalog: Catalog) -> None:
        """Look at every Trigger that appears or changes."""
        catalog.on_trigger(self._observe)

    async def find(self, name: str) -> StreamFacts:
        """What there is under a stream's name, once it was made if it was missing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._event(name).wait()
        return await self._streams.find(name)

    def _event(self, name: str) -> asyncio.Event:
        return self._looked_at.setdefault(name, asyncio.Event())

    def _observe(self, _: str, trigger: Trigger | None) -> None:
        if trigger is not None and trigger.spec.jetstream is not None:
            task = asyncio.create_task(self._keep(trigger.spec.jetstream))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _keep(self, source: JetStreamSource) -> None:
        """Two Triggers may name one stream: one at a time, so that the second adds its subject to the first's."""
        subjects = [source.subject if source.subject != ">" else f"{source.stream}.>"]
        async with self._turn:
            try:
                await self._add(source.stream, subjects)
            except BadRequestError as error:
                self._report.note(f"Stream {source.stream} could not be made: {error.description}")
            finally:
                self._event(source.stream).set()

    async def _add(self, name: str, subjects: list[str]) -> None:
        try:
            await self._jetstream.stream_info(name)
        except NotFoundError:
            await self._jetstream.add_stream(StreamConfig(name=name, subjects=subjects))
            self._report.note(f"Stream {name} was missing: made with the subjects {', '.join(subjects)}")
