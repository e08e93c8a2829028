"""What functions have used: whole numbers that are only ever added up.

Each gateway counts for itself, by function and hour. What it tells of an hour is its whole count so far: telling it
twice changes nothing, and the last word is the one that counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass

HOUR_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Usage:
    """A sum over invocations that ran."""

    invocations: int = 0
    errors: int = 0
    """Those of them in which the function failed."""
    billed_ms: int = 0
    mib_ms: int = 0
    """Memory size times billed duration."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.invocations + other.invocations,
            self.errors + other.errors,
            self.billed_ms + other.billed_ms,
            self.mib_ms + other.mib_ms,
        )


@dataclass(frozen=True, slots=True)
class HourOfUsage:
    """What one gateway has counted of one function in one hour."""

    gateway: str
    hour: int
    """Hours since 1970, in UTC."""
    key: str
    usage: Usage


def hour_of(unix_seconds: float) -> int:
    """The hour that holds this moment. 7,199 s are in hour 1."""
    return int(unix_seconds // HOUR_SECONDS)


def sum_by_function(
    hours: Iterable[HourOfUsage], *, namespace: str | None = None, since: int = 0, until: int | None = None
) -> dict[str, Usage]:
    """Usage by function over the hours from `since` up to, and without, `until`; of one namespace, or of all."""
    sums: dict[str, Usage] = {}
    for one in hours:
        in_time = one.hour >= since and (until is None or one.hour < until)
        if in_time and namespace in (None, one.key.partition("/")[0]):
            sums[one.key] = sums.get(one.key, Usage()) + one.usage
    return sums
