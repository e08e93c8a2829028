"""Requests of the Lambda API: understood, turned into calls, answered as Lambda answers."""

import re
from collections.abc import Mapping

from funclet.core.http_event import HttpAnswer
from funclet.core.lambda_api import (
    LambdaError,
    Target,
    check_payload,
    decode_client_context,
    find_namespace,
    function_not_found,
    invalid_parameter,
    is_latest,
    parse_target,
)
from funclet.core.revision import LATEST
from funclet.gateway.call import Call, InstanceAnswer, Measure, Served
from funclet.gateway.identifiers import new_request_id, new_trace_id
from funclet.gateway.request import Request
from funclet.gateway.settings import GatewaySettings

TARGETS_LIMIT = 4096
"""Parsed URLs that are remembered."""
TRACE_ID = re.compile(rb"[\w=;:.,+/ -]{1,512}")
JSON = ("content-type", "application/json")


def error_answer(error: LambdaError, request_id: str) -> HttpAnswer:
    """An error as the AWS clients read it."""
    headers = [JSON, ("x-amzn-RequestId", request_id), ("x-amzn-ErrorType", error.error_type)]
    if error.retry_after_seconds is not None:
        headers.append(("Retry-After", str(error.retry_after_seconds)))
    return HttpAnswer(error.status, headers, error.body())


class LambdaReply:
    """Answers calls as the Lambda API does, with Funclet's own figures beside."""

    def answered(self, call: Call, answer: InstanceAnswer, measure: Measure) -> None:
        """200, also when the function failed: the header says so."""
        error = f"X-Amz-Function-Error: {answer.error}\r\n" if answer.error else ""
        log = f"X-Amz-Log-Result: {answer.log_result}\r\n" if answer.log_result else ""
        cold = ""
        if measure.init_us is not None:
            cold = f"X-Funclet-Init-Ms: {measure.init_us / 1000:.2f}\r\nX-Funclet-Cold-Start: true\r\n"
        head = (
            f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-amzn-RequestId: {call.request_id}\r\n"
            f"X-Amz-Executed-Version: $LATEST\r\n{error}{log}{cold}"
            f"X-Funclet-Duration-Ms: {measure.duration_us / 1000:.2f}\r\nX-Funclet-Billed-Ms: {measure.billed_ms}\r\n"
            f"X-Funclet-Memory-Mib: {measure.memory_mib}\r\nX-Funclet-Queue-Ms: {measure.queue_seconds * 1000:.2f}\r\n"
        )
        call.request.client.respond_raw(call.request, head, answer.body)

    def streamed(self, call: Call, pieces: list[bytes]) -> bool:
        """Nobody asked for a stream."""
        return False

    def refused(self, call: Call, error: LambdaError) -> None:
        """The error's own status."""
        call.request.client.respond(call.request, error_answer(error, call.request_id))


class LambdaStage:
    """Reads a request of the Lambda API."""

    def __init__(self, settings: GatewaySettings, functions: Mapping[str, Served], accounts: Mapping[str, str]) -> None:
        self._default_namespace = settings.default_namespace
        self._region = settings.region
        self._functions = functions
        self._accounts = accounts
        self._targets: dict[bytes, Target | LambdaError | None] = {}
        self._reply = LambdaReply()

    def find_target(self, url: bytes) -> Target | LambdaError | None:
        """What this URL names; None: it is none of the Lambda API."""
        try:
            return self._targets[url]
        except KeyError:
            target = parse_target(url.decode("latin-1"))
            if len(self._targets) >= TARGETS_LIMIT:
                self._targets.clear()
            self._targets[url] = target
            return target

    def read(self, request: Request, target: Target) -> Call | HttpAnswer:
        """The call to submit, or the answer to give at once."""
        request_id = new_request_id()
        call = self._read(request, target, request_id)
        return error_answer(call, request_id) if isinstance(call, LambdaError) else call

    def _read(self, request: Request, target: Target, request_id: str) -> Call | HttpAnswer | LambdaError:
        served = self._find_function(target)
        if isinstance(served, LambdaError):
            return served
        headers = request.fields
        problem = check_payload(request.body)
        if problem is not None:
            return problem
        invocation_type = headers.get(b"x-amz-invocation-type", b"RequestResponse")
        if invocation_type != b"RequestResponse":
            return _other_type(invocation_type, request_id)
        context = None
        if (given := headers.get(b"x-amz-client-context")) is not None:
            decoded = decode_client_context(given.decode("latin-1"))
            if isinstance(decoded, LambdaError):
                return decoded
            context = decoded
        assert served.revision is not None
        call = Call(served, served.revision, request, self._reply, request_id, request.body or b"{}")
        log_tail = headers.get(b"x-amz-log-type") == b"Tail"
        call.build_head(read_trace_id(headers) or new_trace_id(), context, log_tail=log_tail)
        return call

    def _find_function(self, target: Target) -> Served | LambdaError:
        namespace = find_namespace(target, self._default_namespace, self._accounts)
        served = None if namespace is None else self._functions.get(f"{namespace}/{target.name}")
        if served is None or served.revision is None or not is_latest(target.qualifier):
            return function_not_found(self._region, namespace or self._default_namespace, target.name, target.qualifier)
        return served


def read_trace_id(headers: Mapping[bytes, bytes]) -> str | None:
    """The caller's X-Ray header, if it is one."""
    given = headers.get(b"x-amzn-trace-id")
    if given is not None and TRACE_ID.fullmatch(given):
        return given.decode()
    return None


def _other_type(invocation_type: bytes, request_id: str) -> HttpAnswer | LambdaError:
    if invocation_type == b"DryRun":
        return HttpAnswer(204, (("x-amzn-RequestId", request_id), ("X-Amz-Executed-Version", LATEST)), b"")
    if invocation_type == b"Event":
        return invalid_parameter("Asynchronous invocation (InvocationType Event) is not available yet.")
    return invalid_parameter("InvocationType must be one of Event, RequestResponse, DryRun.")
