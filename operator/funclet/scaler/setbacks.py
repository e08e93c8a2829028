"""What went wrong for each function: how long to wait before the next attempt, and what callers are told meanwhile."""

import logging
from collections.abc import Callable

from funclet.core.backoff import Backoff
from funclet.core.instances import Stuck
from funclet.core.messages import Refused
from funclet.core.retries import Retries
from funclet.core.revision import Revision
from funclet.scaler.feed import Feed

log = logging.getLogger(__name__)

RETRY = Backoff(base_seconds=0.1, cap_seconds=5.0)
REFUSE_AFTER_FAILURES = 5
"""By then a caller has waited three seconds (0.1 + 0.2 + 0.4 + 0.8 + 1.6): it is told what is wrong. Trying goes on."""
REFUSAL_SECONDS = 30.0
"""For how long a package that an agent refused is not tried again."""


class Setbacks:
    """Failures in a row and refusals, by function."""

    def __init__(self, feed: Feed, clock: Callable[[], float]) -> None:
        self._feed = feed
        self._clock = clock
        self._retries = Retries(RETRY)
        self._refused: dict[str, tuple[Refused, float]] = {}
        self._told: dict[str, Refused] = {}

    def may_try(self, key: str) -> bool:
        """Whether an instance may be made for the function now."""
        return self._find_refusal(key) is None and self._retries.wait_seconds(key, self._clock()) == 0

    def tell_waiting(self, key: str) -> None:
        """Tell those who wait although nothing is tried for a while."""
        if (refusal := self._find_refusal(key)) is not None:
            self._feed.send(refusal)

    def count(self, revision: Revision, reason: str, message: str) -> None:
        """One more failure: the next attempt waits a little longer, and after some of them callers are told."""
        fields = {"function": revision.key, "revision": revision.revision, "reason": reason, "detail": message}
        log.warning("specialisation failed", extra=fields)
        if self._retries.fail(revision.key, self._clock()) >= REFUSE_AFTER_FAILURES:
            self._tell(revision, reason, message)

    def refuse(self, revision: Revision, reason: str, message: str) -> None:
        """Nothing can be made of this revision: those who wait are told, and whoever comes in the next while."""
        self._refused[revision.key] = (self._tell(revision, reason, message), self._clock() + REFUSAL_SECONDS)

    def tell_stuck(self, revision: Revision, stuck: Stuck) -> None:
        """Nothing comes: those who wait are told why. Trying goes on."""
        self._tell(revision, stuck.reason, stuck.message)

    def succeed(self, key: str) -> None:
        """An instance was made."""
        self._told.pop(key, None)
        self._retries.succeed(key)

    def forget(self, key: str) -> None:
        """The function has changed, or is no more."""
        self._refused.pop(key, None)
        self.succeed(key)

    def _find_refusal(self, key: str) -> Refused | None:
        refusal, until = self._refused.get(key, (None, 0.0))
        return refusal if self._clock() < until else None

    def _tell(self, revision: Revision, reason: str, message: str) -> Refused:
        refusal = Refused(function=revision.key, revision=revision.revision, reason=reason, message=message)
        self._feed.send(refusal)
        if self._told.get(revision.key) != refusal:
            self._told[revision.key] = refusal
            log.warning("function refused", extra={"function": revision.key, "reason": reason, "detail": message})
        return refusal
