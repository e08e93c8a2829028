"""One event of an asynchronous invocation, from its delivery to what becomes of it.

The order keeps every promise through kill -9 at any point: the outcome is recorded before the records are delivered,
and these before the event is acknowledged. An event that comes again is looked up first, so the function does not run
twice with an event whose outcome is known.
"""

import json
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from funclet.adapters.destinations import Destinations, Parcel
from funclet.adapters.event_store import EventStore
from funclet.adapters.event_streams import read_event
from funclet.adapters.gateway_client import GatewayClient, GatewayUnavailable, ThrottledByGateway
from funclet.adapters.metrics import ASYNC_AGE_SECONDS, ASYNC_EVENTS, DESTINATION_RECORDS
from funclet.api.event_invoke import Destination
from funclet.core.arn import function_arn
from funclet.core.asynchronous import (
    POSTPONEMENT,
    Attempt,
    Event,
    Finish,
    NotRun,
    Progress,
    Ran,
    Step,
    Stopped,
    TryAgain,
    decide,
    is_too_old,
)
from funclet.core.invocation_record import dead_letter_attributes, destination_record
from funclet.core.lambda_api import error_payload
from funclet.core.qualifiers import AliasRoute, function_key, name_of
from funclet.core.revision import Revision
from funclet.core.sqs_event import Message
from funclet.core.trace import advance, lineage_token
from funclet.errors import FunctionFailed, Unavailable
from funclet.events.tracing import TRACE_HEADER, EventTracer, attempt_error

log = logging.getLogger(__name__)

RECURSIVE = "RecursiveInvocationException"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker does now: acknowledge the event, or have it delivered again after this time."""

    delay_seconds: float | None = None
    refused: bool = False
    """The function could not be run at all: its other events would fare the same now."""


class EventRunner:
    """Runs events of all functions."""

    def __init__(
        self,
        functions: Mapping[str, Revision],
        gateway: GatewayClient,
        store: EventStore,
        destinations: Destinations,
        region: str,
        retry_seconds: Sequence[float],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        tracer: EventTracer | None = None,
        aliases: Mapping[str, AliasRoute] | None = None,
    ) -> None:
        self._aliases = {} if aliases is None else aliases
        self._tracer = tracer or EventTracer(None)
        self._functions = functions
        self._gateway = gateway
        self._store = store
        self._destinations = destinations
        self._region = region
        self._retry_seconds = retry_seconds
        self._clock = clock

    async def run(self, message: Message) -> Outcome:
        """One delivery. Raises Unavailable when JetStream is away: the event comes again by itself."""
        event = _read(message)
        revision = self._find_revision(event)
        if revision is None:
            return Outcome(POSTPONEMENT.delay(message.receives), refused=True)
        known = await self._store.find(event, self._clock())
        if isinstance(known, TryAgain) and known.delay_seconds > 0:
            return Outcome(known.delay_seconds)
        if isinstance(known, Finish):
            return await self._tell(event, revision, known, message.receives)
        progress = known.progress if known else Progress()
        progress = replace(progress, postponed=max(0, message.receives - 1 - progress.attempts))
        return await self._advance(event, revision, progress, message.receives)

    def _find_revision(self, event: Event) -> Revision | None:
        """What runs it: its version, with what the alias says of events that were sent to it."""
        revision = self._functions.get(event.key)
        route = self._aliases.get(f"{function_key(event.key)}:{event.qualifier}")
        if revision is None or route is None or route.event_invoke is None:
            return revision
        return replace(revision, event_invoke=route.event_invoke)

    async def _advance(self, event: Event, revision: Revision, progress: Progress, receives: int) -> Outcome:
        step = await self._step(event, revision, progress)
        ran = step.progress.attempts > progress.attempts
        if ran or isinstance(step, Finish):
            await self._store.record(event, step, self._clock())
        _count(event, step, ran=ran)
        if isinstance(step, Finish):
            return await self._tell(event, revision, step, receives)
        return Outcome(step.delay_seconds, refused=not ran)

    async def _step(self, event: Event, revision: Revision, progress: Progress) -> Step:
        age_seconds = self._age_seconds(event)
        if is_too_old(revision.event_invoke, age_seconds):
            return Finish("EventAgeExceeded", progress)
        if not progress.attempts and not progress.postponed:
            ASYNC_AGE_SECONDS.observe(age_seconds)
        operation = self._tracer.attempt(event, progress.attempts + 1)
        attempt = await self._attempt(event, revision, operation.header)
        operation.end(attempt_error(attempt))
        return decide(revision.event_invoke, progress, attempt, self._age_seconds(event), self._retry_seconds)

    def _age_seconds(self, event: Event) -> float:
        return max(0.0, self._clock().timestamp() - event.accepted_ms / 1000)

    async def _attempt(self, event: Event, revision: Revision, trace_id: str) -> Attempt:
        if revision.reserved_concurrency == 0:
            return Stopped("ZeroReservedConcurrency")
        try:
            answer = await self._gateway.invoke(
                event.key, event.payload, revision.timeout_seconds, invoke_headers(event, trace_id)
            )
        except (ThrottledByGateway, GatewayUnavailable) as error:
            return NotRun(error.reason, error.retry_after_seconds)
        except FunctionFailed as error:
            if error.reason == RECURSIVE:
                return Stopped("RecursiveInvocation")
            return Ran(error_payload(error.reason, error.message), "Unhandled")
        return Ran(answer.payload, answer.function_error)

    async def _tell(self, event: Event, revision: Revision, finish: Finish, receives: int) -> Outcome:
        """Delivers the records of a finished event; later once more, when that fails, for as long as it is young."""
        try:
            if not finish.succeeded:
                await self._store.add_dead_letter(event, finish)
            for name, destination in wanted_destinations(revision, finish):
                await self._deliver(event, finish, name, destination)
        except Unavailable as error:
            if error.reason == "JetStreamUnavailable":
                raise
            return self._put_off(event, revision, receives, error)
        return Outcome()

    async def _deliver(self, event: Event, finish: Finish, name: str, destination: Destination) -> None:
        namespace, function = _labels(event)
        try:
            await self._destinations.deliver(destination, self._parcel(event, finish, name))
        except Unavailable as error:
            DESTINATION_RECORDS.labels(namespace, function, name, "failed").inc()
            log.warning(
                "destination did not take a record",
                extra={"function": event.key, "destination": name, "reason": error.reason, "detail": error.message},
            )
            raise
        DESTINATION_RECORDS.labels(namespace, function, name, "delivered").inc()

    def _put_off(self, event: Event, revision: Revision, receives: int, error: Unavailable) -> Outcome:
        delay = POSTPONEMENT.delay(receives)
        if not is_too_old(revision.event_invoke, self._age_seconds(event) + delay):
            return Outcome(delay)
        log.warning("record dropped", extra={"function": event.key, "reason": error.reason})
        namespace, function = _labels(event)
        DESTINATION_RECORDS.labels(namespace, function, "any", "dropped").inc()
        return Outcome()

    def _parcel(self, event: Event, finish: Finish, name: str) -> Parcel:
        namespace, function = _labels(event)
        trace_id = advance(event.trace_id, lineage_token(function_key(event.key)))[0] if event.trace_id else ""
        identity = f"{event.request_id}/{name}"
        if name == "deadLetter":
            return Parcel(identity, namespace, event.payload, dead_letter_attributes(event, finish), trace_id)
        arn = function_arn(self._region, namespace, function)
        record = destination_record(event, arn, finish, self._clock())
        return Parcel(identity, namespace, json.dumps(record).encode(), trace_id=trace_id)


def wanted_destinations(revision: Revision, finish: Finish) -> list[tuple[str, Destination]]:
    """Who hears of this end, by the name of the setting."""
    config = revision.event_invoke.destination_config
    if finish.succeeded:
        return [("onSuccess", config.on_success)] if config.on_success else []
    wanted = [("onFailure", config.on_failure)] if config.on_failure else []
    return [*wanted, ("deadLetter", revision.dead_letter.target)] if revision.dead_letter else wanted


def invoke_headers(event: Event, trace_id: str) -> dict[str, str]:
    """How the gateway is asked to run an event: under its own request id, in its own trace."""
    headers = {"x-funclet-request-id": event.request_id}
    if trace_id:
        headers[TRACE_HEADER] = trace_id
    if event.client_context:
        headers["x-amz-client-context"] = event.client_context
    if event.qualifier:
        headers["x-funclet-qualifier"] = event.qualifier
    return headers


def _read(message: Message) -> Event:
    """A message that somebody else put into the stream may have no request id: it gets one, always the same."""
    event = read_event(message.subject, message.data, message.headers, message.sent_ms)
    try:
        uuid.UUID(event.request_id)
    except ValueError:
        return replace(event, request_id=message.message_id)
    return event


def _labels(event: Event) -> tuple[str, str]:
    """Namespace and function."""
    return event.key.partition("/")[0], name_of(event.key)


def _count(event: Event, step: Step, *, ran: bool) -> None:
    outcome = "retried" if ran else "postponed"
    if isinstance(step, Finish):
        outcome = "succeeded" if step.succeeded else step.condition
    namespace, function = _labels(event)
    ASYNC_EVENTS.labels(namespace, function, outcome).inc()
