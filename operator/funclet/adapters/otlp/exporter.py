"""What is recorded waits in a bounded queue, and goes to the collector in batches, behind the calls.

A collector that is down or slow harms nobody: what it does not take in time is dropped, and so is what comes while the
queue is full. Both are counted (`funclet_spans_dropped_total`).
"""

import asyncio
import contextlib
import functools
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from itertools import chain
from socket import gethostname
from typing import TYPE_CHECKING

from funclet.adapters.metrics import SPANS_DROPPED, SPANS_EXPORTED
from funclet.adapters.otlp.collector import Collector
from funclet.adapters.otlp.settings import OtlpSettings, read_settings
from funclet.core.spans import NewId, Record
from funclet.errors import InvalidSpec, Unavailable

if TYPE_CHECKING:
    from funclet.adapters.otlp.encoding import Batch

log = logging.getLogger(__name__)

SLICE = 64
"""Records that are encoded in one go: what they are made of is still in the core's cache, and calls hardly wait."""
STOP_SECONDS = 3.0
"""For what is left when the role is stopped."""
IDS = 256
NO_ID = "0" * 16


def draw_ids() -> list[str]:
    """Random ids of spans, many at a time: asking the kernel for each would cost more than all the rest.

    Sixteen hexadecimal digits each, not all of them zero, which W3C forbids.
    """
    return [span_id for span_id in os.urandom(8 * IDS).hex("-", 8).split("-") if span_id != NO_ID]


class SpanExporter:
    """Owns the queue. It is the event loop's alone."""

    def __init__(self, settings: OtlpSettings) -> None:
        from funclet.adapters.otlp.encoding import Batch, rejected_spans  # 7 MiB, for those alone who export

        self.sampler = settings.sampler
        self.new_id: NewId = chain.from_iterable(iter(draw_ids, None)).__next__
        self._settings = settings
        self._collector = Collector(settings)
        self._make_batch = functools.partial(Batch, settings.resource, self.new_id)
        self._rejected_spans = rejected_spans
        self._waiting = 0
        """Records in the three places that follow."""
        self._untold: list[Callable[[], Record]] = []
        self._batch = self._make_batch()
        self._full: deque[Batch] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._works = True
        self._stopping = False

    def put(self, tell: Callable[[], Record]) -> None:
        """Have spans exported, or drop them where too many wait. What they are is asked soon, between calls."""
        if self._waiting >= self._settings.queue_size:
            SPANS_DROPPED.labels("queue_full").inc(tell().size)
            return
        self._waiting += 1
        self._untold.append(tell)
        if len(self._untold) == SLICE:
            asyncio.get_running_loop().call_soon(self._encode)
        if self._waiting == 1:
            self._wake.set()

    def _encode(self) -> None:
        untold, self._untold = self._untold, []
        for tell in untold:
            try:
                self._batch.add(tell())
            except Exception:  # a record that cannot be encoded harms no other one
                log.exception("spans not encoded")
                self._waiting -= 1
                SPANS_DROPPED.labels("not_exported").inc()
            if len(self._batch) >= self._settings.batch_size:
                self._full.append(self._batch)
                self._batch = self._make_batch()
                self._wake.set()

    async def start(self) -> None:
        """Begin to export."""
        self._task = asyncio.create_task(self._run(), name="spans")

    async def stop(self) -> None:
        """Export what is left, if the collector takes it soon."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self._task
        while self._waiting:
            SPANS_DROPPED.labels("not_exported").inc(len(self._take()))
        await self._collector.close()

    async def _run(self) -> None:
        while await self._due():
            try:
                await self._export(self._take())
            except Exception:  # the outermost line of the loop
                log.exception("spans not exported")

    async def _due(self) -> bool:
        """Wait until a batch is full or its first span has waited long enough. False: there will be none any more."""
        while not self._waiting and not self._stopping:
            self._wake.clear()
            await self._wake.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.delay_seconds):
                while not self._full and not self._stopping:
                    self._wake.clear()
                    await self._wake.wait()
        return self._waiting > 0

    def _take(self) -> "Batch":
        """The batch that is next."""
        self._encode()
        if not self._full:
            self._full.append(self._batch)
            self._batch = self._make_batch()
        batch = self._full.popleft()
        self._waiting -= batch.records
        return batch

    async def _export(self, batch: "Batch") -> None:
        rejected = None
        try:
            rejected = self._rejected_spans(await self._collector.send(batch.encode()))
            self._note(works=True)
        except Unavailable as error:
            self._note(works=False, detail=error.message)
        finally:  # also when the role is stopped meanwhile
            self._count(len(batch), rejected)

    def _count(self, spans: int, rejected: int | None) -> None:
        if rejected is None:
            SPANS_DROPPED.labels("not_exported").inc(spans)
        else:
            SPANS_DROPPED.labels("rejected").inc(rejected)
            SPANS_EXPORTED.inc(spans - rejected)

    def _note(self, *, works: bool, detail: str = "") -> None:
        """One line a transition."""
        if works != self._works:
            self._works = works
            level = logging.INFO if works else logging.WARNING
            log.log(level, "span export", extra={"works": works, "detail": detail})


def open_exporter(role: str, environment: Mapping[str, str] = os.environ) -> SpanExporter | None:
    """The exporter that this environment asks for, for spans of this role; None: nothing is to be recorded.

    What cannot be understood is logged and means none: no role ends for the sake of its spans.
    """
    try:
        settings = read_settings(environment, f"funclet-{role}", environment.get("FUNCLET_NAME") or gethostname())
    except InvalidSpec as error:
        log.error("no spans are exported", extra={"variable": error.field, "detail": f"{error.field} {error.message}"})
        return None
    return None if settings is None else SpanExporter(settings)
