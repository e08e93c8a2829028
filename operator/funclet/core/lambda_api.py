"""Lambda's Invoke API without its transport: what a request asks for, and the answers in AWS's own words.

Shapes and their exact letter case are those of botocore's service model, lambda/2015-03-31/service-2.json.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import parse_qs, unquote

import msgspec

from funclet.core.arn import account_id, function_arn

BODY_LIMIT_BYTES = 6 * 1024 * 1024
"""Lambda's quota "Invocation payload, synchronous": 6 MB each for request and response."""
MANAGEMENT_LIMIT_BYTES = 70_167_211
"""Of a request that brings code: 50 MB of archive as base64, and Lambda's own words name this number."""
CLIENT_CONTEXT_LIMIT_BYTES = 3583

RESERVED_LIMIT_HEADER_SECONDS = 1
"""Retry-After of a 429."""

_skip_json = msgspec.json.Decoder(msgspec.Raw).decode
_REFERENCE = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):)?"
    r"(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[a-zA-Z0-9-_]{1,140})(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?"
)
_PATH = re.compile(
    r"(?:/namespaces/(?P<namespace>[^/]+))?(?:"
    r"/2015-03-31/functions/(?P<reference>[^/]+)/invocations(?:/(?P<request_id>[0-9a-f-]{36}))?"
    r"|/2014-11-13/functions/(?P<asynchronous>[^/]+)/invoke-async/?"
    r"|/2021-11-15/functions/(?P<streaming>[^/]+)/response-streaming-invocations)"
)
_LAMBDA_PATH = re.compile(r"(?:/namespaces/[^/]+)?/\d{4}-\d{2}-\d{2}/.*")

Operation = Literal["Invoke", "InvokeAsync", "InvokeWithResponseStream", "GetInvocation"]
"""GetInvocation is Funclet's own: the result of an asynchronous invocation by its request id."""
METHODS: Mapping[Operation, bytes] = {
    "Invoke": b"POST", "InvokeAsync": b"POST", "InvokeWithResponseStream": b"POST", "GetInvocation": b"GET",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LambdaError:
    """An error answer. `text_member` is how the shape spells its message: Message or message."""

    status: int
    error_type: str
    message: str
    text_member: str = "Message"
    fault: str = "User"
    reason: str | None = None
    retry_after_seconds: int | None = None

    def body(self) -> bytes:
        """The JSON document."""
        members = {"Type": self.fault, self.text_member: self.message}
        if self.reason is not None:
            members["Reason"] = self.reason
        return json.dumps(members).encode()


@dataclass(frozen=True, slots=True)
class Target:
    """Which function a path names, and what for. `account` is set when the caller gave an ARN that has one."""

    namespace: str | None
    name: str
    qualifier: str | None
    account: str | None
    operation: Operation = "Invoke"
    request_id: str = ""
    """Of the invocation that GetInvocation asks for."""


@dataclass(frozen=True, slots=True)
class Management:
    """A path of the Lambda API that invokes nothing: control knows what it means."""


MANAGEMENT = Management()


def function_not_found(region: str, namespace: str, name: str, qualifier: str | None = None) -> LambdaError:
    """404, with the ARN that was looked for."""
    arn = function_arn(region, namespace, name, qualifier)
    return LambdaError(404, "ResourceNotFoundException", f"Function not found: {arn}")


def function_pending() -> LambdaError:
    """409: the function is there, but nothing of it could be served yet. Lambda's state of such a one is Pending."""
    message = (
        "The operation cannot be performed at this time. The function is currently in the following state: Pending"
    )
    return LambdaError(409, "ResourceConflictException", message, text_member="message")


def throttled(reason: str) -> LambdaError:
    """429."""
    return LambdaError(
        429, "TooManyRequestsException", "Rate Exceeded.", text_member="message", reason=reason,
        retry_after_seconds=RESERVED_LIMIT_HEADER_SECONDS,
    )  # fmt: skip


def unavailable(message: str, retry_after_seconds: int = 1) -> LambdaError:
    """503: the platform, not the function. boto3 retries a ServiceException with a 5xx status."""
    return LambdaError(503, "ServiceException", message, fault="Service", retry_after_seconds=retry_after_seconds)


def answer_lost() -> LambdaError:
    """500: the gateway that ran the invocation has ended, and with it the answer. The function may have run."""
    message = "The gateway that ran this invocation has ended before its answer."
    return LambdaError(500, "ServiceException", message, fault="Service")


def request_too_large(limit: int = BODY_LIMIT_BYTES) -> LambdaError:
    """413."""
    operation = "InvokeFunction" if limit == BODY_LIMIT_BYTES else "CreateFunction"
    message = f"Request must be smaller than {limit} bytes for the {operation} operation"
    return LambdaError(413, "RequestTooLargeException", message, text_member="message")


def event_too_large(size: int, limit: int) -> LambdaError:
    """413 for an asynchronous invocation."""
    message = f"{size} byte payload is too large for the Event invocation type (limit {limit} bytes)"
    return LambdaError(413, "RequestTooLargeException", message, text_member="message")


def recursive_invocation(key: str, before: int) -> LambdaError:
    """400: this chain of requests has invoked the function `namespace/name` so often before."""
    message = (
        f"Lambda has detected your function being invoked in a recursive loop and stopped its invocation: {key} was "
        f"invoked {before} times in this chain of requests (spec.recursiveLoop: Allow lets it go on)."
    )
    return LambdaError(400, "RecursiveInvocationException", message)


def invocation_not_found(request_id: str) -> LambdaError:
    """404: no attempt has ended yet, or its result was kept for its time."""
    return LambdaError(404, "ResourceNotFoundException", f"No result is known of the invocation {request_id}.")


def unknown_operation() -> LambdaError:
    """404 for paths of the Lambda API that are not served."""
    return LambdaError(404, "UnknownOperationException", "This operation is not available.")


def invalid_parameter(message: str) -> LambdaError:
    """400."""
    return LambdaError(400, "InvalidParameterValueException", message, text_member="message")


def parse_target(url: str) -> Target | Management | LambdaError | None:
    """What this URL (path and query, as received) invokes. None: it is no path of the Lambda API at all."""
    path, _, query = url.partition("?")
    match = _PATH.fullmatch(path)
    if match is None:
        return MANAGEMENT if _LAMBDA_PATH.fullmatch(path) else None
    written = unquote(match["reference"] or match["asynchronous"] or match["streaming"])
    namespace = unquote(match["namespace"]) if match["namespace"] else None
    target = read_reference(namespace, written, parse_qs(query).get("Qualifier", [None])[0])
    if isinstance(target, LambdaError):
        return target
    return replace(target, operation=_operation(match), request_id=match["request_id"] or "")


def read_reference(namespace: str | None, written: str, qualifier: str | None) -> Target | LambdaError:
    """The function that a name, a partial or a full ARN means, as it is `written` at FunctionName."""
    reference = _REFERENCE.fullmatch(written)
    if reference is None:
        return invalid_parameter(
            f"1 validation error detected: Value '{written}' at 'functionName' failed to satisfy "
            f"constraint: Member must satisfy regular expression pattern: {_REFERENCE.pattern}"
        )
    named = reference["qualifier"]
    if qualifier is not None and named is not None and qualifier != named:
        return invalid_parameter("The derived qualifier from the function name does not match the specified qualifier.")
    return Target(namespace, reference["name"], named or qualifier, reference["account"])


def _operation(match: re.Match[str]) -> Operation:
    if match["asynchronous"]:
        return "InvokeAsync"
    if match["streaming"]:
        return "InvokeWithResponseStream"
    return "GetInvocation" if match["request_id"] else "Invoke"


def find_namespace(target: Target, default_namespace: str, accounts: Mapping[str, str]) -> str | None:
    """The namespace that a target means; None when its ARN's account is nobody's. `accounts`: account → namespace."""
    namespace = target.namespace or default_namespace
    if target.account is None or target.account == account_id(namespace):
        return namespace
    return accounts.get(target.account) if target.namespace is None else None


def is_plain_json(body: bytes) -> bool:
    """Whether it is JSON in UTF-8, found out without building what it says: 5 MB take 4 ms, json.loads takes 50.

    False decides nothing: the standard library is more lenient (NaN, UTF-16, half of a surrogate pair), and so are we.
    """
    try:
        _skip_json(body)
        return body.isascii() or bool(body.decode())  # it looks at the structure alone
    except (ValueError, RecursionError):
        return False


def check_payload(body: bytes) -> LambdaError | None:
    """Lambda refuses a payload that is not JSON before the function sees it. An empty one is an empty event."""
    if not body:
        return None
    if is_plain_json(body):
        return None
    try:
        json.loads(body)
    except (ValueError, RecursionError) as error:
        return LambdaError(
            400, "InvalidRequestContentException", f"Could not parse request body into json: {error}",
            text_member="message",
        )  # fmt: skip
    return None


def decode_client_context(value: str) -> str | LambdaError:
    """X-Amz-Client-Context (base64 of JSON) as JSON text in one line of ASCII, fit for a header."""
    try:
        if len(value) > CLIENT_CONTEXT_LIMIT_BYTES:
            raise ValueError(f"it is longer than {CLIENT_CONTEXT_LIMIT_BYTES} bytes")
        return json.dumps(json.loads(base64.b64decode(value, validate=True)))
    except (ValueError, RecursionError, binascii.Error) as error:
        return LambdaError(
            400, "InvalidRequestContentException", f"Client context must be Base64-encoded JSON: {error}",
            text_member="message",
        )  # fmt: skip


def error_payload(error_type: str, message: str) -> bytes:
    """The body of a function error that the platform makes: Lambda's errorType and errorMessage."""
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()


def exit_error(request_id: str) -> bytes:
    """What the caller gets when the instance died without an answer."""
    return error_payload(
        "Runtime.ExitError", f"RequestId: {request_id} Error: Runtime exited without providing a reason"
    )


def timeout_error(request_id: str, timeout_seconds: float) -> bytes:
    """What the caller gets when the instance did not even enforce the timeout."""
    return error_payload(
        "Sandbox.Timedout", f"RequestId: {request_id} Error: Task timed out after {timeout_seconds:.2f} seconds"
    )
