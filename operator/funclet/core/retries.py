"""When to try again, by key: each failure doubles the wait, a success or a quiet minute ends the series."""

from funclet.core.backoff import Backoff

QUIET_SECONDS = 60.0


class Retries:
    """Failures in a row of many keys."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failures: dict[str, tuple[int, float, float]] = {}

    def fail(self, key: str, now: float) -> int:
        """Note a failure; returns how many there were in a row."""
        count, failed_at, _ = self._failures.get(key, (0, now, now))
        count = 1 if now - failed_at > QUIET_SECONDS else count + 1
        self._failures[key] = (count, now, now + self._backoff.delay(count))
        return count

    def wait_seconds(self, key: str, now: float) -> float:
        """How long to wait before the next attempt; 0 when it may be made now."""
        return max(0.0, self._failures[key][2] - now) if key in self._failures else 0.0

    def succeed(self, key: str) -> None:
        """Forget all failures of a key."""
        self._failures.pop(key, None)
