"""Requests of the Lambda API: understood, turned into calls, answered as Lambda answers."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from random import random
from typing import Protocol

from funclet.core.arn import function_arn
from funclet.core.asynchronous import EVENT_LIMIT_BYTES, Event
from funclet.core.http_event import HttpAnswer
from funclet.core.lambda_api import (
    METHODS,
    LambdaError,
    Management,
    Operation,
    Target,
    check_payload,
    decode_client_context,
    event_too_large,
    find_namespace,
    function_not_found,
    function_pending,
    invalid_parameter,
    parse_target,
    recursive_invocation,
    unknown_operation,
)
from funclet.core.qualifiers import LATEST, AliasRoute, name_of, qualify, resolve, version_of
from funclet.core.trace import LINEAGE_LIMIT, advance, read_trace_id
from funclet.gateway.call import Acceptance, Call, Lookup, Request, Served
from funclet.gateway.identifiers import new_request_id, new_trace_id
from funclet.gateway.lambda_reply import LambdaReply, error_answer
from funclet.gateway.settings import GatewaySettings
from funclet.gateway.stream_reply import StreamReply
from funclet.gateway.tracing import Tracer

TARGETS_LIMIT = 4096
"""Parsed URLs that are remembered."""


class Known(Protocol):
    """What the stage needs of the catalog."""

    @property
    def aliases(self) -> Mapping[str, AliasRoute]:
        """Where aliases lead, by `namespace/name:alias`."""

    @property
    def pending(self) -> Collection[str]:
        """Functions that are there, and were never resolved yet."""


class LambdaStage:
    """Reads a request of the Lambda API."""

    def __init__(
        self,
        settings: GatewaySettings,
        functions: Mapping[str, Served],
        known: Known,
        accounts: Mapping[str, str],
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._default_namespace = settings.default_namespace
        self._region = settings.region
        self._functions = functions
        self._known = known
        self._accounts = accounts
        self._targets: dict[bytes, Target | Management | LambdaError | None] = {}
        self._reply = LambdaReply()
        self._stream_reply = StreamReply()

    def find_target(self, url: bytes) -> Target | Management | LambdaError | None:
        """What this URL names; None: it is none of the Lambda API."""
        try:
            return self._targets[url]
        except KeyError:
            target = parse_target(url.decode("latin-1"))
            if isinstance(target, Management) or (isinstance(target, Target) and target.request_id):
                return target  # asked for once or twice, and there are many
            if len(self._targets) >= TARGETS_LIMIT:
                self._targets.clear()
            self._targets[url] = target
            return target

    def read(
        self, request: Request, target: Target, *, trusted: bool = False
    ) -> Call | Acceptance | Lookup | HttpAnswer:
        """What to do for this request, or the answer to give at once. `trusted`: it comes from the events role."""
        given = request.fields.get(b"x-funclet-request-id") if trusted else None
        request_id = new_request_id() if given is None else given.decode("latin-1")
        asked = self._read(request, target, request_id, trusted=trusted)
        return error_answer(asked, request_id) if isinstance(asked, LambdaError) else asked

    def _read(
        self, request: Request, target: Target, request_id: str, *, trusted: bool
    ) -> Call | Acceptance | Lookup | HttpAnswer | LambdaError:
        if request.method != METHODS[target.operation]:
            return unknown_operation()
        served = self._find_function(target)
        if isinstance(served, LambdaError):
            return served
        if target.operation == "GetInvocation":
            return Lookup(served.key, target.request_id, request_id)
        problem = check_payload(request.body)
        if problem is not None:
            return problem
        qualifier = target.qualifier
        if trusted and (given := request.fields.get(b"x-funclet-qualifier")) is not None:
            qualifier = given.decode("latin-1")
        return self._invoke(request, target.operation, served, request_id, qualifier)

    def _invoke(
        self, request: Request, operation: Operation, served: Served, request_id: str, qualifier: str | None
    ) -> Call | Acceptance | HttpAnswer | LambdaError:
        headers = request.fields
        more = ""
        if (given := headers.get(b"x-amz-client-context")) is not None:
            context = decode_client_context(given.decode("latin-1"))
            if isinstance(context, LambdaError):
                return context
            more = f"lambda-runtime-client-context: {context}\r\n"
        streaming = operation == "InvokeWithResponseStream"
        invocation_type = headers.get(b"x-amz-invocation-type", b"RequestResponse")
        if (invocation_type == b"Event" and not streaming) or operation == "InvokeAsync":
            return self._accept(request, served, request_id, qualifier or "")
        if invocation_type != b"RequestResponse":
            return _other_type(invocation_type, request_id, served, streaming=streaming)
        trace = lineage_of(headers, served)
        if isinstance(trace, LambdaError):
            return trace
        assert served.revision is not None
        reply = self._stream_reply if streaming else self._reply
        call = Call(served, served.revision, request, reply, request_id, request.body or b"{}")
        if headers.get(b"x-amz-log-type") == b"Tail":
            more += "x-amz-log-type: Tail\r\n"
        if qualifier is not None:
            more += invoked_as(self._region, served.key, qualifier)
        call.more = more
        if streaming:
            call.want_stream()
        call.trace = trace if self._tracer is None else self._tracer.begin(call, trace)
        return call

    def find_plain(self, url: bytes) -> tuple[str, str] | None:
        """The function that a request with this URL and no meaningful header invokes, and what its instance is told
        beside the usual; None: it is no such request.
        """
        target = self.find_target(url)
        if not isinstance(target, Target) or target.operation != "Invoke" or target.account is not None:
            return None
        key = f"{target.namespace or self._default_namespace}/{target.name}"
        if target.qualifier is None:
            return key, ""
        return (key, invoked_as(self._region, key, LATEST)) if target.qualifier == LATEST else None

    def find_plain_key(self, url: bytes) -> str | None:
        """The function of `find_plain`."""
        found = self.find_plain(url)
        return None if found is None else found[0]

    def _accept(self, request: Request, served: Served, request_id: str, qualifier: str) -> Acceptance | LambdaError:
        if len(request.body) > EVENT_LIMIT_BYTES:
            return event_too_large(len(request.body), EVENT_LIMIT_BYTES)
        context = request.fields.get(b"x-amz-client-context", b"").decode("latin-1")
        trace_id = read_trace_id(request.fields) or new_trace_id()
        event = Event(
            request_id,
            served.key,
            request.body or b"{}",
            trace_id=trace_id,
            client_context=context,
            qualifier=qualifier,
        )
        acceptance = Acceptance(served, event)
        return acceptance if self._tracer is None else self._tracer.accept(acceptance, request.fields)

    def find_key(self, request: Request, target: Target) -> str | None:
        """The function that this request invokes, whichever version, if it does so at once."""
        if target.operation not in ("Invoke", "InvokeWithResponseStream"):
            return None
        if target.operation == "Invoke" and request.fields.get(b"x-amz-invocation-type") in (b"Event", b"DryRun"):
            return None
        namespace = find_namespace(target, self._default_namespace, self._accounts)
        return None if namespace is None else f"{namespace}/{target.name}"

    def _find_function(self, target: Target) -> Served | LambdaError:
        namespace = find_namespace(target, self._default_namespace, self._accounts)
        key = f"{namespace}/{target.name}"
        if target.qualifier is not None:
            key = resolve(qualify(key, target.qualifier), self._known.aliases, random())  # noqa: S311  spreads calls
        served = None if namespace is None else self._functions.get(key)
        if served is None or served.revision is None:
            if key in self._known.pending:
                return function_pending()
            return function_not_found(self._region, namespace or self._default_namespace, target.name, target.qualifier)
        return served


def lineage_of(headers: Mapping[bytes, bytes], served: Served) -> str | LambdaError:
    """The trace header that the function gets: it tells of this invocation too. A loop that may not go on ends here."""
    given = read_trace_id(headers)
    if given is None:
        return new_trace_id(served.first_lineage)
    trace, before = advance(given, served.lineage_token)
    if before < LINEAGE_LIMIT:
        return trace
    assert served.revision is not None
    if served.revision.recursion_allowed:
        served.meter.recursions_allowed += 1
        return trace
    served.meter.recursions_terminated += 1
    return recursive_invocation(served.key, before)


@lru_cache(TARGETS_LIMIT)
def invoked_as(region: str, key: str, qualifier: str) -> str:
    """The header line that tells an instance of this function under which qualifier it was invoked."""
    arn = function_arn(region, key.partition("/")[0], name_of(key), qualifier)
    return f"lambda-runtime-invoked-function-arn: {arn}\r\n"


def _other_type(
    invocation_type: bytes, request_id: str, served: Served, *, streaming: bool
) -> HttpAnswer | LambdaError:
    if invocation_type == b"DryRun":
        version = ("X-Amz-Executed-Version", version_of(served.key))
        return HttpAnswer(204, (("x-amzn-RequestId", request_id), version), b"")
    types = "RequestResponse, DryRun" if streaming else "Event, RequestResponse, DryRun"
    return invalid_parameter(f"InvocationType must be one of {types}.")
