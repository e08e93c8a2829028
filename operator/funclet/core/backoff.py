"""How long to wait before the next attempt."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double: with base 0.5 and cap 60 they are 0.5, 1, 2, 4 … 60 seconds."""

    base_seconds: float
    cap_seconds: float

    def delay(self, attempt: int, chance: float = 1.0) -> float:
        """Seconds to wait after the attempt of this number, the first being 1.

        `chance` (0 to 1, the caller's random number) spreads callers who failed together over the upper half.
        """
        doublings = min(max(attempt, 1) - 1, 30)  # 2^30 × any base is beyond any cap, and no number overflows
        longest = min(self.cap_seconds, self.base_seconds * 2.0**doublings)
        return longest * (0.5 + 0.5 * chance)


REDELIVERY = Backoff(base_seconds=0.5, cap_seconds=60.0)
"""For messages: a message that fails five times is through after 0.5 + 1 + 2 + 4 = 7.5 seconds."""

RECONNECTION = Backoff(base_seconds=0.2, cap_seconds=5.0)
"""For what Funclet itself needs: something that comes back is noticed within five seconds."""
