"""The streams of asynchronous invocation, and how an event, an outcome and a dead letter lie in them.

| stream            | subject                                  | holds                                                 |
|-------------------|------------------------------------------|-------------------------------------------------------|
| `FUNCLET_EVENTS`  | `funclet.events.NAMESPACE.NAME[:VERSION]` | accepted events until they are done: a work queue    |
| `FUNCLET_RESULTS` | `funclet.results.NAMESPACE.NAME.REQUEST` | the last word on each event, for the retention time   |
| `FUNCLET_DLQ`     | `funclet.dlq.NAMESPACE.NAME`             | given-up events, until somebody redrives or purges    |

Each event that was stored is told of under `funclet.accepted.NAMESPACE.NAME`, without its payload: so that a function
without events needs no consumer and nobody polls. The events role makes the streams; the gateway only writes and reads.
Which version an event is for is decided when it is accepted; outcomes and dead letters lie with the function's.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import RePublish, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from funclet.adapters.jetstream import unavailable_when_unreachable
from funclet.adapters.usage_ledger import ledger_stream
from funclet.core.asynchronous import Event, Finish
from funclet.core.invocation_record import dead_letter_attributes
from funclet.core.qualifiers import LATEST, function_key, qualify, version_of

EVENTS, RESULTS, DEAD_LETTERS = "FUNCLET_EVENTS", "FUNCLET_RESULTS", "FUNCLET_DLQ"
EVENT_SUBJECT, ACCEPTED_SUBJECT = "funclet.events", "funclet.accepted"
RESULT_SUBJECT, DEAD_LETTER_SUBJECT = "funclet.results", "funclet.dlq"

RESULTS_LIMIT_BYTES = 1024**3
"""Beyond it the oldest results go before their time, not the events."""

REQUEST_ID, TRACE_ID, CLIENT_CONTEXT = "Funclet-Request-Id", "Funclet-Trace-Id", "Funclet-Client-Context"
CONDITION, ATTEMPTS, ACCEPTED_MS = "Funclet-Condition", "Funclet-Attempts", "Funclet-Accepted-Ms"
QUALIFIER = "Funclet-Qualifier"
"""As the caller named the version that runs."""
VERSION = "Funclet-Version"
"""Of a dead letter: which version of the function did not succeed with it. None: $LATEST."""


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """What an installation may choose."""

    replicas: int = 1
    """Servers that hold each message: 3 in a cluster of NATS servers."""
    result_seconds: int = 3600
    dead_letter_seconds: int = 14 * 86400


def place(prefix: str, key: str, *more: str) -> str:
    """The subject for a function or one of its versions: a key holds no dot, since its names are DNS labels."""
    return ".".join((prefix, *key.split("/"), *more))


def find_key(subject: str) -> str:
    """The key of a subject."""
    return "/".join(subject.split(".")[2:4])


async def make_streams(client: Client, policy: StreamPolicy) -> None:
    """Makes the streams, or brings those that are there to this policy."""
    jetstream = client.jetstream()
    with unavailable_when_unreachable():
        for config in _configs(policy):
            try:
                await jetstream.stream_info(config.name or "")
            except NotFoundError:
                await jetstream.add_stream(config)
            else:
                await jetstream.update_stream(config)


def _configs(policy: StreamPolicy) -> list[StreamConfig]:
    events = StreamConfig(
        name=EVENTS,
        description="Accepted events of asynchronous invocations (Funclet)",
        subjects=[f"{EVENT_SUBJECT}.*.*"],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        num_replicas=policy.replicas,
        allow_atomic=True,
        republish=RePublish(src=f"{EVENT_SUBJECT}.>", dest=f"{ACCEPTED_SUBJECT}.>", headers_only=True),
    )
    results = StreamConfig(
        name=RESULTS,
        description="Outcomes of asynchronous invocations (Funclet)",
        subjects=[f"{RESULT_SUBJECT}.*.*.*"],
        storage=StorageType.FILE,
        num_replicas=policy.replicas,
        max_age=policy.result_seconds,
        max_bytes=RESULTS_LIMIT_BYTES,
        max_msgs_per_subject=1,
        allow_atomic=True,
    )
    dead_letters = StreamConfig(
        name=DEAD_LETTERS,
        description="Events that were given up (Funclet)",
        subjects=[f"{DEAD_LETTER_SUBJECT}.*.*"],
        storage=StorageType.FILE,
        num_replicas=policy.replicas,
        max_age=policy.dead_letter_seconds,
    )
    return [events, results, dead_letters, ledger_stream(policy.replicas)]


def event_headers(event: Event) -> dict[str, str]:
    """What is stored beside an event's payload; the time of its acceptance is the stream's own."""
    headers = {REQUEST_ID: event.request_id}
    if event.trace_id:
        headers[TRACE_ID] = event.trace_id
    if event.client_context:
        headers[CLIENT_CONTEXT] = event.client_context
    if event.qualifier:
        headers[QUALIFIER] = event.qualifier
    return headers


def read_event(subject: str, payload: bytes, headers: Mapping[str, str], stored_ms: int) -> Event:
    """The event that was stored so."""
    return Event(
        request_id=headers.get(REQUEST_ID, ""),
        key=qualify(find_key(subject), headers.get(VERSION)),
        payload=payload,
        accepted_ms=stored_ms,
        trace_id=headers.get(TRACE_ID, ""),
        client_context=headers.get(CLIENT_CONTEXT, ""),
        qualifier=headers.get(QUALIFIER, ""),
    )


def dead_letter_headers(event: Event, finish: Finish) -> dict[str, str]:
    """What a dead letter says beside the event. It lies with its function's, whichever version it is of."""
    version = version_of(event.key)
    return {
        **({} if version == LATEST else {VERSION: version}),
        **event_headers(event),
        **dead_letter_attributes(event, finish),
        CONDITION: finish.condition,
        ATTEMPTS: str(finish.progress.attempts),
        ACCEPTED_MS: str(event.accepted_ms),
    }


def result_subject(key: str, request_id: str) -> str:
    """Where the outcome of an event lies: with its function's, whichever version it is of."""
    return place(RESULT_SUBJECT, function_key(key), request_id)


async def find_result(jetstream: JetStreamContext, key: str, request_id: str) -> dict[str, Any] | None:
    """The outcome document of an event; None when none is known (yet, or any more)."""
    with unavailable_when_unreachable():
        try:
            message = await jetstream.get_last_msg(RESULTS, result_subject(key, request_id))
        except NotFoundError:
            return None
    document: dict[str, Any] = json.loads(message.data or b"{}")
    return document


async def list_waiting(client: Client) -> dict[str, int]:
    """How many events each function has in the stream."""
    with unavailable_when_unreachable():
        info = await client.jetstream().stream_info(EVENTS, subjects_filter=f"{EVENT_SUBJECT}.>")
    return {find_key(subject): count for subject, count in (info.state.subjects or {}).items()}


async def purge_abandoned(client: Client, key: str, now: datetime, age_seconds: float) -> bool:
    """Removes a deleted function's events when the newest is older than this. Whether it did."""
    jetstream = client.jetstream()
    subject = place(EVENT_SUBJECT, key)
    with unavailable_when_unreachable():
        newest = await jetstream.get_last_msg(EVENTS, subject)
        if newest.time is None or (now - newest.time.astimezone(UTC)).total_seconds() < age_seconds:
            return False
        return bool(await jetstream.purge_stream(EVENTS, subject=subject))
