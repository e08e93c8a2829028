"""How long idle instances of each function are kept, and which functions are about to be needed."""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush

from funclet.core.demand import DemandBook
from funclet.core.idle_watch import IdleWatch, Reading
from funclet.core.instances import Instance, State
from funclet.core.keep_alive import AdaptiveKeepAlive, FixedKeepAlive, IdleHistory
from funclet.core.revision import Revision
from funclet.core.scaling import Idle

Settings = tuple[str, int]


class Idleness:
    """Only functions with an adaptive keep-alive that have been called take memory here. It is lost with the scaler."""

    def __init__(self, book: DemandBook, clock: Callable[[], float]) -> None:
        self._book = book
        self._clock = clock
        self._watches: dict[str, tuple[Settings, IdleWatch]] = {}
        self._due: list[tuple[float, str]] = []
        self._due_at: dict[str, float] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether a function becomes due some time."""
        return bool(self._due)

    def read(self, revision: Revision, instances: Sequence[Instance]) -> list[Idle]:
        """How long each instance that is not being specialised has been idle; the function's history hears of it.

        One that is still starting when nobody needs it any more has been of no use since it was asked for.
        """
        now, key = self._clock(), revision.key
        idle = [
            (one.state, Idle(one.name, self._book.idle_seconds(key, one.name, one.since, now)))
            for one in instances
            if one.state is not State.SPECIALISING
        ]
        ready = [one for state, one in idle if state is State.READY]
        watch = self._find_watch(revision, needed=bool(ready))
        if watch is not None:
            watch.read([Reading(one.name, one.seconds, self._book.uses(key, one.name)) for one in ready], now)
        return [one for _, one in idle]

    def history(self, revision: Revision) -> IdleHistory:
        """The keep-alive policy of a function."""
        watch = self._find_watch(revision, needed=False)
        return FixedKeepAlive(revision.idle_timeout_seconds) if watch is None else watch.history

    def predicted_count(self, revision: Revision, lead_seconds: float) -> int:
        """Instances that are likely to be needed within the time that a start takes."""
        watch = self._find_watch(revision, needed=False)
        if watch is None:
            return 0
        now, present = self._clock(), watch.used_count
        self._expect(revision.key, watch.history.next_due(now, lead_seconds, present))
        return watch.history.predicted_count(now, lead_seconds, present)

    def take_due(self) -> list[str]:
        """Functions whose instances may be needed in a moment."""
        due = []
        while self._due and self._due[0][0] <= self._clock():
            at, key = heappop(self._due)
            if self._due_at.get(key) == at:
                del self._due_at[key]
                due.append(key)
        return due

    def forget(self, key: str) -> None:
        """The function is no more."""
        self._watches.pop(key, None)
        self._due_at.pop(key, None)

    def _expect(self, key: str, due: float | None) -> None:
        if due is not None and due < self._due_at.get(key, float("inf")):
            self._due_at[key] = due
            heappush(self._due, (due, key))

    def _find_watch(self, revision: Revision, *, needed: bool) -> IdleWatch | None:
        """The function's watch, if its settings are still those that it was made for; a new one where it is needed."""
        settings = (revision.keep_alive, revision.idle_timeout_seconds)
        made_for, watch = self._watches.get(revision.key, (settings, None))
        if made_for != settings or revision.keep_alive == "Fixed":
            self.forget(revision.key)
            watch = None
        if watch is None and needed and revision.keep_alive == "Adaptive":
            watch = IdleWatch(AdaptiveKeepAlive(revision.idle_timeout_seconds))
            self._watches[revision.key] = (settings, watch)
        return watch
