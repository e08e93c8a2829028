"""From a Trigger to what runs it: its source, opened whenever its runner wants it."""

from collections.abc import Awaitable, Callable
from functools import partial

from nats.aio.client import Client

from funclet.adapters.sources.queue import SourceQueue
from funclet.adapters.sources.stream import StreamPlace, StreamSource
from funclet.adapters.sqs_access import SqsAccess
from funclet.api.sqs import SqsSource
from funclet.api.trigger import JetStreamSource, Trigger
from funclet.core.arn import account_id
from funclet.core.batching import Policy, policy_of, sqs_policy_of
from funclet.core.event_filter import filter_of
from funclet.core.resolve import invoked_by, may_run
from funclet.core.revision import Revision
from funclet.core.sqs_event import Queue
from funclet.core.sqs_queue import SqsPlace, place_of
from funclet.errors import InvalidSpec
from funclet.events.runner import RunnerSpec


class Sources:
    """Opens the sources of Triggers."""

    def __init__(self, nats: Client, sqs: SqsAccess) -> None:
        self._nats = nats
        self._sqs = sqs

    def opener(self, spec: RunnerSpec) -> Callable[[], Awaitable[SourceQueue]]:
        """What opens this one. It raises Unavailable."""
        if isinstance(spec.place, SqsPlace):
            return partial(self._sqs.open, spec.place, spec.policy)
        return partial(StreamSource.open, self._nats, spec.place, spec.policy)

    async def close(self) -> None:
        """Closes what was opened here."""
        await self._sqs.close()


def plan_runner(key: str, trigger: Trigger, revision: Revision | None, region: str) -> RunnerSpec | None:
    """What should run for a Trigger. None: it is disabled or refused, has another source, or has no function."""
    source = trigger.spec.jetstream or trigger.spec.sqs
    if source is None or not may_run(trigger) or revision is None:
        return None
    try:
        event_filter = filter_of(source)
    except InvalidSpec:
        return None
    place, policy = _place_and_policy(trigger, source, revision, region)
    return RunnerSpec(
        trigger=key,
        function=revision.key,
        timeout_seconds=revision.timeout_seconds,
        place=place,
        policy=policy,
        filter=event_filter,
        invoked=invoked_by(trigger),
    )


def _place_and_policy(
    trigger: Trigger, source: JetStreamSource | SqsSource, revision: Revision, region: str
) -> tuple[StreamPlace | SqsPlace, Policy]:
    namespace = trigger.metadata.namespace
    if isinstance(source, SqsSource):
        return place_of(source, namespace, region), sqs_policy_of(source)
    origin = Queue(source.stream, region, account_id(namespace))
    place = StreamPlace(source.stream, source.subject, consumer_name(namespace, trigger.metadata.name), origin)
    return place, policy_of(source, revision.timeout_seconds)


def consumer_name(namespace: str, name: str) -> str:
    """Of a Trigger's durable consumer: no dots in it, and no two Triggers have the same (DNS names have no `_`)."""
    return f"funclet_{namespace}_{name}".replace(".", "_")
