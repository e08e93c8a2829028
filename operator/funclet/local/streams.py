"""On a cluster a stream belongs to somebody else and must exist. Here nobody else is: missing ones are made."""

import asyncio

from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from funclet.adapters.catalog import Catalog
from funclet.api.trigger import JetStreamSource, Trigger
from funclet.local.report import Report


class StreamKeeper:
    """Makes the streams that Triggers name, with the subjects that they read."""

    def __init__(self, jetstream: JetStreamContext, report: Report) -> None:
        self._jetstream = jetstream
        self._report = report
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def follow(self, catalog: Catalog) -> None:
        """Look at every Trigger that appears or changes."""
        catalog.on_trigger(self._observe)

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

    async def _add(self, name: str, subjects: list[str]) -> None:
        try:
            await self._jetstream.stream_info(name)
        except NotFoundError:
            await self._jetstream.add_stream(StreamConfig(name=name, subjects=subjects))
            self._report.note(f"Stream {name} was missing: made with the subjects {', '.join(subjects)}")
