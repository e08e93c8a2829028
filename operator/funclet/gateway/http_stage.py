"""Requests that match HTTP triggers: turned into events and calls, answered by API Gateway's rules."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from random import random
from typing import Protocol

from funclet.api.trigger import Trigger
from funclet.core.arn import account_id
from funclet.core.http_event import (
    HttpAnswer,
    HttpRequest,
    RouteContext,
    build_event,
    encode_event,
    internal_error,
    message_answer,
    parse_answer,
    split_stream,
)
from funclet.core.http_routes import Match, Route, RouteTable
from funclet.core.lambda_api import LambdaError
from funclet.core.qualifiers import AliasRoute, function_key, qualify, resolve
from funclet.core.routes import find_holders
from funclet.gateway.call import Call, InstanceAnswer, Request, Served
from funclet.gateway.heads import BODILESS, encode_head
from funclet.gateway.identifiers import new_request_id
from funclet.gateway.lambda_stage import invoked_as, lineage_of
from funclet.gateway.tracing import Tracer

REFUSALS = {429: "Too Many Requests", 503: "Service Unavailable"}


class HttpReply:
    """Answers calls as an HTTP API of API Gateway does."""

    def answered(self, call: Call, answer: InstanceAnswer) -> int:
        """The function's response; 500 when it failed or when its answer is no response.

        What has begun cannot become a 500: the caller sees that it is not whole.
        """
        if call.stream_begun:
            client = call.request.client
            (client.cut_stream if answer.error else client.end_stream)(call.request)
            return 200  # or what the function's first bytes said
        response = internal_error() if answer.error else parse_answer(answer.body)
        headers = [*response.headers, ("apigw-requestid", call.request_id)]
        call.request.client.respond(call.request, HttpAnswer(response.status, headers, response.body))
        return response.status

    def streamed(self, call: Call, content_type: str, pieces: list[bytes]) -> bool:
        """Status and headers as soon as they are there, then the body as it comes."""
        client, request = call.request.client, call.request
        data = b"".join(pieces)
        if call.stream_begun:
            return client.write_piece(request, data)
        call.stream_start += data
        split = split_stream(content_type, call.stream_start)
        if split is None:
            return True
        answer, body = split
        headers = [*answer.headers, ("apigw-requestid", call.request_id)]
        answer = HttpAnswer(answer.status, headers, answer.body)
        if answer.body or request.method == b"HEAD" or answer.status in BODILESS:
            client.respond(request, answer)
            return False
        call.stream_begun = True
        return client.begin_stream(request, encode_head(answer)) and client.write_piece(request, body)

    def refused(self, call: Call, error: LambdaError) -> int:
        """The function has not run."""
        answer = refusal(error)
        call.request.client.respond(call.request, answer)
        return answer.status


def refusal(error: LambdaError) -> HttpAnswer:
    """429 and 503 as such, all else is the platform's fault."""
    retry = error.retry_after_seconds
    headers = [("retry-after", str(retry))] if retry is not None else []
    message = REFUSALS.get(error.status)
    return internal_error() if message is None else message_answer(error.status, message, headers)


class Known(Protocol):
    """What the stage needs of the catalog."""

    @property
    def aliases(self) -> Mapping[str, AliasRoute]:
        """Where aliases lead, by `namespace/name:alias`."""

    @property
    def triggers(self) -> Mapping[str, Trigger]:
        """All Triggers by key."""


class HttpStage:
    """Matches requests with the routes of all triggers."""

    def __init__(
        self, functions: Mapping[str, Served], known: Known, region: str, tracer: Tracer | None = None
    ) -> None:
        self._tracer = tracer
        self._functions = functions
        self._known = known
        self._region = region
        self._table: RouteTable | None = None
        self._reply = HttpReply()

    def invalidate(self) -> None:
        """A trigger has changed: the routes are built anew when the next request comes."""
        self._table = None

    def read(self, request: Request) -> Call | HttpAnswer:
        """The call to submit, or the answer to give at once."""
        received = read_request(request)
        match = self._match(received.method, dict(received.headers).get("host", ""), received.path)
        if match is None:
            return message_answer(404, "Not Found")
        route = match.route
        served = self._functions.get(resolve(route.function, self._known.aliases, random()))  # noqa: S311  spreads calls
        if served is None or served.revision is None:
            return internal_error()
        return self._build_call(request, received, match, served)

    def _match(self, method: str, host: str, path: str) -> Match | None:
        if self._table is None:
            self._table = RouteTable(build_routes(self._known.triggers.values()))
        return self._table.match(method, _host_name(host), path)

    def find_key(self, request: Request) -> str | None:
        """The function that this request invokes."""
        path = request.url.decode("latin-1").partition("?")[0]
        match = self._match(request.method.decode(), request.fields.get(b"host", b"").decode("latin-1"), path)
        return None if match is None else function_key(match.route.function)

    def _build_call(self, request: Request, received: HttpRequest, match: Match, served: Served) -> Call | HttpAnswer:
        assert served.revision is not None
        request_id = new_request_id()
        trace = lineage_of(request.fields, served)
        if isinstance(trace, LambdaError):
            return internal_error()
        namespace = served.key.partition("/")[0]
        api_id = hashlib.sha256(match.route.trigger.encode()).hexdigest()[:10]
        context = RouteContext(match.route_key, match.parameters, account_id(namespace), api_id)
        event = build_event(received, context, request_id, datetime.now(UTC))
        call = Call(served, served.revision, request, self._reply, request_id, encode_event(event))
        call.want_stream()
        if match.route.qualifier is not None:
            call.more += invoked_as(self._region, served.key, match.route.qualifier)
        call.trace = trace if self._tracer is None else self._tracer.begin(call, trace, match.route.path)
        return call


def read_request(request: Request) -> HttpRequest:
    """The request as text; header names in lower case."""
    path, _, query = request.url.decode("latin-1").partition("?")
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.fields.items()]
    return HttpRequest(request.method.decode(), path, query, headers, request.body, request.client.source_ip)


def build_routes(triggers: Iterable[Trigger]) -> list[Route]:
    """The routes of those that have theirs: the others say RouteConflict, and get nothing."""
    return [_build_route(trigger) for trigger in find_holders(triggers)]


def _build_route(trigger: Trigger) -> Route:
    http = trigger.spec.http
    assert http is not None
    namespace = trigger.metadata.namespace
    target = trigger.spec.function
    function = qualify(f"{namespace}/{target.name}", target.qualifier)
    name, methods = f"{namespace}/{trigger.metadata.name}", tuple(http.methods)
    return Route(name, function, http.path, methods, http.host, target.qualifier)


def _host_name(host: str) -> str:
    """Without the port; an IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
