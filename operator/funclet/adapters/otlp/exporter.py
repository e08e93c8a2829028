"""What is recorded waits in a bounded queue, and goes to the collector in batches, behind the calls.

A collector that is down or slow harms nobody: what it does not take in time is dropped, and so is what comes while the
queue is full. Both are counted (`funclet_spans_dropped_total`).
"""

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Mapping, Sequence
from socket import gethostname
from typing import Protocol

from funclet.adapters.metrics import SPANS_DROPPED, SPANS_EXPORTED
from funclet.adapters.otlp.collector import Collector
from funclet.adapters.otlp.settings import OtlpSettings, read_settings
from funclet.core.spans import NewId, Span
from funclet.errors import InvalidSpec, Unavailable

log = logging.getLogger(__name__)

SLICE = 32
"""Records that are encoded in one go, which takes a third of a millisecond: then it is the calls' turn."""
STOP_SECONDS = 3.0
"""For what is left when the role is stopped."""
IDS = 64


class Record(Protocol):
    """Spans that belong together, not made yet."""

    @property
    def size(self) -> int:
        """How many there are."""

    def spans(self, new_id: NewId) -> Sequence[Span]:
        """The spans themselves."""


class SpanIds:
    """Random ids, bought in bulk: asking the kernel for each would cost more than all the rest."""

    def __init__(self) -> None:
        self._ids: list[str] = []

    def new(self) -> str:
        """Sixteen hexadecimal digits, of a span or half of a trace; not all of them zero, which W3C forbids."""
        if not self._ids:
            text = os.urandom(8 * IDS).hex()
            self._ids = [text[start : start + 16] for start in range(0, len(text), 16)]
        span_id = self._ids.pop()
        return span_id if span_id.strip("0") else self.new()


class SpanExporter:
    """Owns the queue. It is the event loop's alone."""

    def __init__(self, settings: OtlpSettings) -> None:
        from funclet.adapters.otlp.encoding import Batch, rejected_spans  # 7 MiB, for those alone who export

        self.sampler = settings.sampler
        self.new_id = SpanIds().new
        self._settings = settings
        self._collector = Collector(settings)
        self._make_batch = Batch
        self._rejected_spans = rejected_spans
        self._queue: deque[Record] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._works = True
        self._stopping = False

    def put(self, record: Record) -> None:
        """Have these spans exported, or drop them where too many wait."""
        queue = self._queue
        if len(queue) >= self._settings.queue_size:
            SPANS_DROPPED.labels("queue_full").inc(record.size)
            return
        queue.append(record)
        if len(queue) == 1 or len(queue) == self._settings.batch_size:
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
        SPANS_DROPPED.labels("not_exported").inc(sum(record.size for record in self._queue))
        await self._collector.close()

    async def _run(self) -> None:
        while await self._due():
            try:
                await self._export()
            except Exception:  # the outermost line of the loop
                log.exception("spans not exported")

    async def _due(self) -> bool:
        """Wait until a batch is full or its first span has waited long enough. False: there will be none any more."""
        while not self._queue and not self._stopping:
            self._wake.clear()
            await self._wake.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.delay_seconds):
                while len(self._queue) < self._settings.batch_size and not self._stopping:
                    self._wake.clear()
                    await self._wake.wait()
        return bool(self._queue)

    async def _export(self) -> None:
        batch = self._make_batch(self._settings.resource)
        while self._queue and len(batch) < self._settings.batch_size:
            for _ in range(min(SLICE, len(self._queue))):
                batch.add(self._queue.popleft().spans(self.new_id))
            await asyncio.sleep(0)
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
