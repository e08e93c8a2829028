"""Asynchronous invocation at the gateway: 202 once an event is durable, 503 when nobody knows that it is."""

import asyncio
import json

from funclet.adapters.event_log import EventLog
from funclet.core.http_event import HttpAnswer
from funclet.core.lambda_api import LambdaError, invocation_not_found, unavailable
from funclet.errors import Unavailable
from funclet.gateway.call import Acceptance, Lookup, Request
from funclet.gateway.lambda_reply import JSON, error_answer

RETRY_AFTER_SECONDS = 1


class Intake:
    """Takes events and finds results; `log` is None where the gateway was given no JetStream."""

    def __init__(self, log: EventLog | None) -> None:
        self._log = log
        self._finding: set[asyncio.Task[None]] = set()

    def accept(self, request: "Request", asked: Acceptance) -> None:
        """Answers the request when the event is durable, or cannot be."""
        try:
            stored = self._open().append(asked.event)
        except Unavailable as error:
            self._answer(request, asked, error)
            return
        stored.add_done_callback(lambda done: self._answer(request, asked, done.exception()))

    def _answer(self, request: "Request", asked: Acceptance, error: BaseException | None) -> None:
        meter, request_id = asked.served.meter, asked.event.request_id
        if error is None:
            meter.accepted += 1
            answer = HttpAnswer(202, (("x-amzn-RequestId", request_id),), b"")
        else:
            meter.not_accepted += 1
            answer = _refusal(error, request_id)
        request.client.respond(request, answer)
        if asked.on_answered is not None:
            asked.on_answered(error)

    def find(self, request: "Request", asked: Lookup) -> None:
        """Answers the request with the result of an asynchronous invocation."""
        task = asyncio.get_running_loop().create_task(self._find(request, asked))
        self._finding.add(task)
        task.add_done_callback(self._finding.discard)

    async def _find(self, request: "Request", asked: Lookup) -> None:
        try:
            document = await self._open().find_result(asked.key, asked.invocation)
        except Unavailable as error:
            answer = _refusal(error, asked.request_id)
        else:
            answer = _result(document, asked)
        request.client.respond(request, answer)

    def _open(self) -> EventLog:
        if self._log is None:
            raise Unavailable("This gateway has no JetStream: FUNCLET_NATS_URL is not set.", reason="NoJetStream")
        return self._log


def _result(document: dict[str, object] | None, asked: Lookup) -> HttpAnswer:
    if document is None:
        return error_answer(invocation_not_found(asked.invocation), asked.request_id)
    return HttpAnswer(200, (JSON, ("x-amzn-RequestId", asked.request_id)), json.dumps(document).encode())


def _refusal(error: BaseException, request_id: str) -> HttpAnswer:
    message = error.message if isinstance(error, Unavailable) else "The event was not stored."
    problem: LambdaError = unavailable(message, RETRY_AFTER_SECONDS)
    return error_answer(problem, request_id)
