"""Schedules: one task for all of them, which sleeps until the next one is due.

Every replica of this role finds that a schedule is due, and accepts an event of the same request id: JetStream keeps
one of them. From there it is an asynchronous invocation, with its retries, destinations and dead letters.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from funclet.adapters.event_store import EventStore
from funclet.adapters.metrics import SCHEDULED
from funclet.adapters.schedule_journal import Progress, ScheduleJournal
from funclet.api.trigger import ScheduleSource, Trigger
from funclet.core.asynchronous import Event
from funclet.core.backoff import RECONNECTION
from funclet.core.qualifiers import AliasRoute, chance_of
from funclet.core.resolve import may_run
from funclet.core.schedule import Schedule, execution_id, parse_schedule, payload
from funclet.errors import InvalidSpec, Unavailable
from funclet.events.cancellation import cancel

log = logging.getLogger(__name__)

LONGEST_SLEEP_SECONDS = 20.0
"""The clock may be set meanwhile."""


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """One enabled Trigger with a schedule; `trigger` is its key."""

    trigger: str
    uid: str
    generation: int
    route: AliasRoute
    """Which version its events are for."""
    source: ScheduleSource
    schedule: Schedule
    qualifier: str = ""
    """As the Trigger names the version."""


class Entry:
    """How far one of them has come."""

    def __init__(self, spec: ScheduleSpec) -> None:
        self.spec = spec
        self.progress: Progress | None = None
        self.due: datetime | None = None
        """When to look at it next; None: never again."""
        self.failures = 0
        self.retry_at: datetime | None = None
        """JetStream was away: not before then."""

    @property
    def wake_at(self) -> datetime | None:
        """When there is something to do; None: never."""
        return self.retry_at or self.due


class Schedules:
    """Fires what is due. `now` is the wall clock."""

    def __init__(
        self,
        store: EventStore,
        journal: ScheduleJournal,
        region: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._journal = journal
        self._region = region
        self._now = now
        self._entries: dict[str, Entry] = {}
        self._uids: dict[str, str] = {}
        """Of Triggers that have or had a schedule, also while they are disabled."""
        self._gone: dict[str, str] = {}
        """Deleted Triggers whose progress is to be forgotten, and their uids."""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins."""
        self._task = asyncio.create_task(self._run(), name="schedules")

    async def stop(self) -> None:
        """Ends; what is due from now on is another replica's, or is made up for."""
        await cancel([self._task] if self._task else [])

    def put(self, spec: ScheduleSpec) -> None:
        """This is a schedule, or what has become of one."""
        self._uids[spec.trigger] = spec.uid
        known = self._entries.get(spec.trigger)
        if known is None or known.spec != spec:
            self._entries[spec.trigger] = entry = Entry(spec)
            entry.due = self._now()
            self._changed.set()

    def remove(self, trigger: str, *, deleted: bool) -> None:
        """It is none any more, or is disabled, or its function is gone."""
        self._entries.pop(trigger, None)
        if deleted and trigger in self._uids:
            self._gone[trigger] = self._uids.pop(trigger)
            self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            now = self._now()
            waking = [entry for entry in self._entries.values() if entry.wake_at is not None and entry.wake_at <= now]
            await asyncio.gather(*(self._look(entry) for entry in waking), self._forget_gone())
            await self._sleep()

    async def _sleep(self) -> None:
        """Until the next one is due or something changes."""
        now = self._now()
        times = [entry.wake_at - now for entry in self._entries.values() if entry.wake_at is not None]
        seconds = min([LONGEST_SLEEP_SECONDS, *(time.total_seconds() for time in times)])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._changed.wait()

    async def _look(self, entry: Entry) -> None:
        try:
            await self._advance(entry)
        except Unavailable as error:
            self._try_later(entry)
            log.warning("schedule waits", extra={"trigger": entry.spec.trigger, "reason": error.reason})
        except Exception:
            self._try_later(entry)
            log.exception("schedule failed", extra={"trigger": entry.spec.trigger})
        else:
            entry.failures, entry.retry_at = 0, None

    def _try_later(self, entry: Entry) -> None:
        entry.failures += 1
        entry.retry_at = self._now() + timedelta(seconds=RECONNECTION.delay(entry.failures))

    async def _advance(self, entry: Entry) -> None:
        """Fire it if it is due, and find out when it is due next."""
        spec, now = entry.spec, self._now()
        progress = entry.progress
        if progress is None:
            progress = await self._journal.begin(spec.trigger, spec.uid, spec.generation, now)
        missed = list(takewhile(lambda due: due <= now, spec.schedule.due_from(progress.rest, progress.since)))
        if missed:
            progress = replace(progress, done=missed[-1])
            if (now - missed[-1]).total_seconds() > spec.source.maximum_event_age_in_seconds:
                await self._give_up(spec, progress, missed)
            else:
                await self._fire(spec, missed[-1], len(missed) - 1)
                await self._journal.note(spec.trigger, progress)
        entry.progress = progress
        entry.due = next(spec.schedule.due_from(progress.rest, progress.since), None)

    async def _give_up(self, spec: ScheduleSpec, progress: Progress, missed: list[datetime]) -> None:
        """All are too late. The replica that notes it first counts them, as once for all."""
        if await self._journal.note(spec.trigger, progress):
            _count(spec, "missed", len(missed))
            log.warning("schedule missed", extra={"trigger": spec.trigger, "due": missed[-1].isoformat()})

    async def _fire(self, spec: ScheduleSpec, due: datetime, earlier: int) -> None:
        """Accept its event. `earlier` times before it are not made up for."""
        namespace, _, name = spec.trigger.partition("/")
        execution = execution_id(spec.trigger, spec.uid, due)
        body = payload(spec.source, namespace, name, self._region, execution, due)
        key = spec.route.choose(chance_of(execution))
        if await self._store.accept_once(Event(execution, key, body, qualifier=spec.qualifier)):
            _count(spec, "invoked", 1)
            _count(spec, "missed", earlier)  # by the replica whose event it is, as once for all
            log.info("schedule due", extra={"trigger": spec.trigger, "due": due.isoformat(), "request_id": execution})

    async def _forget_gone(self) -> None:
        for trigger, uid in list(self._gone.items()):
            try:
                await self._journal.forget(trigger, uid)
            except Unavailable as error:
                log.warning("schedule not forgotten yet", extra={"trigger": trigger, "reason": error.reason})
                return
            del self._gone[trigger]


def _count(spec: ScheduleSpec, outcome: str, times: int) -> None:
    namespace, _, name = spec.trigger.partition("/")
    SCHEDULED.labels(namespace, name, outcome).inc(times)


def plan_schedule(key: str, trigger: Trigger, route: AliasRoute) -> ScheduleSpec | None:
    """None: it has another source, is disabled or refused."""
    source = trigger.spec.schedule
    if source is None or not may_run(trigger):
        return None
    try:
        schedule = parse_schedule(source)
    except InvalidSpec:
        return None
    metadata = trigger.metadata
    qualifier = trigger.spec.function.qualifier or ""
    return ScheduleSpec(key, metadata.uid, metadata.generation, route, source, schedule, qualifier)
