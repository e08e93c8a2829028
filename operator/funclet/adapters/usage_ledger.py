"""The durable ledger of what functions have used: the JetStream stream `FUNCLET_USAGE`.

One message for each gateway process, function and hour, at `funclet.usage.HOUR.GATEWAY.NAMESPACE.NAME`, with the whole
count so far as JSON. The stream keeps the last one of each subject, so that a count which is told twice is there once,
and one that was not confirmed is simply told again.
"""

import asyncio
import json
from collections.abc import Sequence

from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StorageType, StreamConfig

from funclet.adapters.group_commit import GroupCommit
from funclet.adapters.jetstream import unavailable_when_unreachable
from funclet.core.usage import HourOfUsage, Usage
from funclet.errors import Unavailable

STREAM, SUBJECT = "FUNCLET_USAGE", "funclet.usage"
KEPT_SECONDS = 400 * 86400
"""A year and a month."""
PAGE = 1000
PAGE_SECONDS = 5.0


def ledger_stream(replicas: int) -> StreamConfig:
    """The stream; the events role makes it with those of asynchronous invocation."""
    return StreamConfig(
        name=STREAM,
        description="What functions have used (Funclet)",
        subjects=[f"{SUBJECT}.*.*.*.*"],
        storage=StorageType.FILE,
        num_replicas=replicas,
        max_age=KEPT_SECONDS,
        max_msgs_per_subject=1,
        allow_atomic=True,
    )


class UsageLedger:
    """Writes to the ledger, many functions with one sync of its disk."""

    def __init__(self, client: Client) -> None:
        self._commit = GroupCommit(client)

    async def store(self, hours: Sequence[HourOfUsage]) -> None:
        """Returns once all are durable. Raises Unavailable when it is not known that they are."""
        stored = [self._commit.append(subject_of(one), payload_of(one), {}) for one in hours]
        for result in await asyncio.gather(*stored, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result


async def read_ledger(client: Client) -> list[HourOfUsage]:
    """All that the ledger holds. Raises Unavailable when it cannot be read."""
    with unavailable_when_unreachable():
        jetstream = client.jetstream(timeout=PAGE_SECONDS)
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL, mem_storage=True)
        info = await jetstream.add_consumer(STREAM, config)
        subscription = await jetstream.pull_subscribe_bind(info.name, STREAM)
        left, found = info.num_pending or 0, []
        while left > 0:
            for message in await subscription.fetch(min(left, PAGE), timeout=PAGE_SECONDS):
                found.append(read_hour(message.subject, message.data))
                left -= 1
        await subscription.unsubscribe()
        await jetstream.delete_consumer(STREAM, info.name)
    return found


def subject_of(hour: HourOfUsage) -> str:
    """Where it lies. Namespaces and names are DNS labels, so that they hold no dot."""
    return ".".join((SUBJECT, str(hour.hour), hour.gateway, *hour.key.split("/")))


def payload_of(hour: HourOfUsage) -> bytes:
    """The counts, for whoever reads the stream."""
    usage = hour.usage
    counts = {
        "invocations": usage.invocations,
        "errors": usage.errors,
        "billedMs": usage.billed_ms,
        "mibMs": usage.mib_ms,
    }
    return json.dumps(counts, separators=(",", ":")).encode()


def read_hour(subject: str, payload: bytes) -> HourOfUsage:
    """What `subject_of` and `payload_of` wrote. Raises Unavailable for what somebody else has written there."""
    try:
        hour, gateway, namespace, name = subject.removeprefix(f"{SUBJECT}.").split(".")
        counts = json.loads(payload)
        usage = Usage(counts["invocations"], counts["errors"], counts["billedMs"], counts["mibMs"])
        return HourOfUsage(gateway, int(hour), f"{namespace}/{name}", usage)
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"the message at {subject} is none of the usage ledger's", reason="NotUnderstood") from error
