"""What the gateway counts at each invocation: plain numbers, put into Prometheus' shape when asked for (`metrics`).

A prometheus_client counter takes a lock and half a microsecond, and the hot path has six of them.
"""

from bisect import bisect_left
from collections.abc import Callable

from funclet.adapters.usage_journal import UsageEntry
from funclet.core.qualifiers import name_of, version_of

VERSION_LABELS = ("namespace", "function", "version")
"""Of what is counted for each version of a function; for the function itself the version is $LATEST."""
DURATION_BUCKETS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    900.0,
)
"""Seconds; from a trivial handler to Lambda's longest timeout."""
_BUCKETS_US = [round(seconds * 1_000_000) for seconds in DURATION_BUCKETS]


OpenUsage = Callable[[str], UsageEntry | None]


class FunctionMeter:
    """The numbers of one version of a function.

    Plain attributes, so that counting costs nothing; one writer, the gateway's loop.
    """

    __slots__ = (
        "_open_usage",
        "accepted",
        "billed_ms",
        "cold_starts",
        "duration_buckets",
        "duration_us",
        "error",
        "in_flight",
        "key",
        "labels",
        "mib_ms",
        "not_accepted",
        "ok",
        "queue_depth",
        "recursions_allowed",
        "recursions_terminated",
        "throttled",
        "throttles",
        "unavailable",
        "usage",
    )

    def __init__(self, key: str, open_usage: OpenUsage) -> None:
        self.key = key
        self.labels = list(version_labels(key).values())
        self._open_usage = open_usage
        self.ok = self.error = self.throttled = self.unavailable = 0
        self.billed_ms = self.cold_starts = self.duration_us = 0
        self.accepted = self.not_accepted = 0
        self.recursions_allowed = self.recursions_terminated = 0
        self.mib_ms = 0
        """Memory size times billed duration: as a whole number, so that no sum is ever rounded."""
        self.duration_buckets = [0] * (len(DURATION_BUCKETS) + 1)
        self.usage: UsageEntry | None = None
        """The same for the ledger, from the first run on; without a journal there is none."""
        self.throttles: dict[str, int] = {}
        self.queue_depth: Callable[[], int] = int
        self.in_flight: Callable[[], int] = int

    @property
    def is_idle(self) -> bool:
        """Whether all of it is zero: nobody has called this function since the gateway began."""
        counted = self.ok or self.error or self.throttled or self.unavailable or self.accepted or self.not_accepted
        return not (counted or self.recursions_terminated or self.in_flight() or self.queue_depth())

    def count_run(self, duration_us: int, billed_ms: int, memory_mib: int, failed: bool) -> None:
        """Count one run of the handler."""
        usage = self.usage
        if usage is None:
            usage = self.usage = self._open_usage(self.key)
        mib_ms = memory_mib * billed_ms
        if usage is not None:
            usage.count(billed_ms, mib_ms, failed)
        if failed:
            self.error += 1
        else:
            self.ok += 1
        self.billed_ms += billed_ms
        self.mib_ms += mib_ms
        self.duration_us += duration_us
        self.duration_buckets[bisect_left(_BUCKETS_US, duration_us)] += 1

    def throttle(self, reason: str) -> None:
        """Count one refusal because a limit of the user was reached."""
        self.throttled += 1
        self.throttles[reason] = self.throttles.get(reason, 0) + 1


def version_labels(key: str) -> dict[str, str]:
    """The values of VERSION_LABELS."""
    return {"namespace": key.partition("/")[0], "function": name_of(key), "version": version_of(key)}
