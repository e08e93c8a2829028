"""All Prometheus metrics of all roles."""

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from funclet.adapters.function_meter import DURATION_BUCKETS, VERSION_LABELS, FunctionMeter, OpenUsage, version_labels
from funclet.adapters.usage_journal import UsageEntry
from funclet.core.billing import gb_seconds

OUTCOMES = ("ok", "error", "throttled", "unavailable")

COLD_START_SECONDS = Histogram(
    "funclet_cold_start_seconds",
    "What callers waited for in a cold start, by phase (docs/metrics.md).",
    ["phase"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
INSTANCES = Gauge("funclet_instances", "Instances of a function, by state.", [*VERSION_LABELS, "state"])
POOL_INSTANCES = Gauge("funclet_pool_instances", "Generic instances in the warm pool.", ["namespace", "runtime"])
BATCHES = Counter("funclet_batches", "Batches taken from event sources.", ["namespace", "trigger", "outcome"])
MESSAGES = Counter("funclet_messages", "Messages taken from event sources.", ["namespace", "trigger", "outcome"])
SCHEDULED = Counter("funclet_scheduled", "Times that a schedule was due.", ["namespace", "trigger", "outcome"])
ASYNC_EVENTS = Counter(
    "funclet_async_events",
    "What became of events of asynchronous invocations, at each attempt.",
    ["namespace", "function", "outcome"],
)
"""outcome: succeeded, retried, postponed, or the condition with which it was given up."""
ASYNC_AGE_SECONDS = Histogram(
    "funclet_async_event_age_seconds",
    "From the acceptance of an event to the beginning of its first attempt.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600),
)
DESTINATION_RECORDS = Counter(
    "funclet_destination_records",
    "Records and dead letters for destinations.",
    ["namespace", "function", "destination", "outcome"],
)
"""destination: onSuccess, onFailure or deadLetter; outcome: delivered, failed (it is tried again) or dropped."""
SPANS_EXPORTED = Counter("funclet_spans_exported", "Spans that a collector has taken.")
SPANS_DROPPED = Counter("funclet_spans_dropped", "Spans that no collector has.", ["reason"])
"""reason: queue_full, not_exported (no collector took them in time) or rejected (the collector said so)."""


CONNECTIONS_HANDED_OVER = Counter(
    "funclet_connections_handed_over", "Callers' connections that went to another gateway process of this machine."
)


REQUESTS_REFUSED = Counter(
    "funclet_requests_refused", "Requests refused before they were understood.", ["sender", "status"]
)
"""sender: caller, or gateway (another one, which never sends what must be refused)."""


class InvocationMeters(Collector):
    """The meters of all functions that this gateway knows."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._meters: dict[str, FunctionMeter] = {}
        self._entry_of: OpenUsage | None = None
        if registry is not None:
            registry.register(self)

    def of(self, key: str) -> FunctionMeter:
        """The meter of a function's version; begun at zero when it is new."""
        if key not in self._meters:
            self._meters[key] = FunctionMeter(key, self._open_usage)
        return self._meters[key]

    def keep_usage_in(self, entry_of: OpenUsage | None) -> None:
        """Count the usage of all functions in such entries too, from now on; None: no longer."""
        self._entry_of = entry_of
        for meter in self._meters.values():
            meter.usage = None

    def _open_usage(self, key: str) -> UsageEntry | None:
        return None if self._entry_of is None else self._entry_of(key)

    def forget(self, key: str) -> None:
        """Remove the series of a deleted function."""
        self._meters.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        """All series of functions that have been called: ten thousand idle ones would be 30 MB of zeros a scrape."""
        meters = [meter for meter in self._meters.values() if not meter.is_idle]
        yield _outcomes(meters)
        yield _counter("funclet_billed_milliseconds", "Billed duration.", meters, lambda m: m.billed_ms)
        yield _counter("funclet_gb_seconds", "Billed GB-seconds.", meters, lambda m: gb_seconds(1, m.mib_ms))
        yield _counter("funclet_cold_starts", "Answers that paid for an init phase.", meters, lambda m: m.cold_starts)
        yield _recursions(meters)
        yield _counter(
            "funclet_async_events_received", "Asynchronous invocations answered with 202.", meters, lambda m: m.accepted
        )
        yield _counter(
            "funclet_async_events_refused", "Asynchronous invocations not stored.", meters, lambda m: m.not_accepted
        )
        yield _durations(meters)
        yield _throttles(meters)
        yield _gauge("funclet_queue_depth", "Invocations that wait for a slot.", meters, lambda m: m.queue_depth())
        yield _gauge("funclet_in_flight", "Invocations that run now.", meters, lambda m: m.in_flight())


def _counter(
    name: str, text: str, meters: list[FunctionMeter], value: Callable[[FunctionMeter], float]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=VERSION_LABELS)
    for meter in meters:
        family.add_metric(meter.labels, value(meter))
    return family


def _gauge(
    name: str, text: str, meters: list[FunctionMeter], value: Callable[[FunctionMeter], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=VERSION_LABELS)
    for meter in meters:
        family.add_metric(meter.labels, value(meter))
    return family


def _outcomes(meters: list[FunctionMeter]) -> CounterMetricFamily:
    family = CounterMetricFamily("funclet_invocations", "Invocations by outcome.", labels=[*VERSION_LABELS, "outcome"])
    for meter in meters:
        for outcome in OUTCOMES:
            family.add_metric([*meter.labels, outcome], getattr(meter, outcome))
    return family


def _throttles(meters: list[FunctionMeter]) -> CounterMetricFamily:
    family = CounterMetricFamily(
        "funclet_throttles", "Invocations refused with 429.", labels=[*VERSION_LABELS, "reason"]
    )
    for meter in meters:
        for reason, count in meter.throttles.items():
            family.add_metric([*meter.labels, reason], count)
    return family


def _recursions(meters: list[FunctionMeter]) -> CounterMetricFamily:
    family = CounterMetricFamily(
        "funclet_recursive_invocations",
        "Invocations beyond the 16th of a function in one chain of requests.",
        labels=[*VERSION_LABELS, "action"],
    )
    for meter in meters:
        family.add_metric([*meter.labels, "allowed"], meter.recursions_allowed)
        family.add_metric([*meter.labels, "terminated"], meter.recursions_terminated)
    return family


def _durations(meters: list[FunctionMeter]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(
        "funclet_invocation_duration_seconds", "Duration of handler runs.", labels=VERSION_LABELS
    )
    bounds = [*(str(bound) for bound in DURATION_BUCKETS), "+Inf"]
    for meter in meters:
        buckets = list(zip(bounds, map(float, accumulate(meter.duration_buckets)), strict=True))
        family.add_metric(meter.labels, buckets, meter.duration_us / 1_000_000)
    return family


INVOCATIONS = InvocationMeters(REGISTRY)
"""The meters of this process."""


def forget_function(key: str) -> None:
    """Remove all series of a function's version."""
    INVOCATIONS.forget(key)
    INSTANCES.remove_by_labels(version_labels(key))


def forget_events(key: str) -> None:
    """Remove what the events role has counted of the asynchronous invocations of `namespace/name`."""
    namespace, _, name = key.partition("/")
    for metric in (ASYNC_EVENTS, DESTINATION_RECORDS):
        metric.remove_by_labels({"namespace": namespace, "function": name})


def forget_trigger(key: str) -> None:
    """Remove all series of the Trigger `namespace/name`."""
    namespace, _, name = key.partition("/")
    for metric in (BATCHES, MESSAGES, SCHEDULED):
        metric.remove_by_labels({"namespace": namespace, "trigger": name})
