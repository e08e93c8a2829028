"""The Lambda Runtime API's and Extensions API's words: routes, headers, error bodies. No I/O.

Sources: AWS's page "Using the Lambda runtime API for custom runtimes" with its OpenAPI file (2018-06-01), the page
"Using the Lambda Extensions API" (2020-01-01), and for the texts of errors the runtime interface emulator.
"""

import json

from funclet_agent.specialisation import Specialisation

NEXT, RESPONSE, ERROR, INIT_ERROR = "next", "response", "error", "init/error"
REGISTER, EVENT_NEXT, EXTENSION_INIT_ERROR, EXIT_ERROR = "register", "event/next", "extension/init/error", "exit/error"
TELEMETRY, LOGS = "telemetry", "logs"

ROUTES = {
    (b"GET", b"/2018-06-01/runtime/invocation/next"): NEXT,
    (b"POST", b"/2018-06-01/runtime/init/error"): INIT_ERROR,
    (b"POST", b"/2020-01-01/extension/register"): REGISTER,
    (b"GET", b"/2020-01-01/extension/event/next"): EVENT_NEXT,
    (b"POST", b"/2020-01-01/extension/init/error"): EXTENSION_INIT_ERROR,
    (b"POST", b"/2020-01-01/extension/exit/error"): EXIT_ERROR,
    (b"PUT", b"/2022-07-01/telemetry"): TELEMETRY,
    (b"PUT", b"/2020-08-15/logs"): LOGS,
}
INVOCATION_PREFIX = b"/2018-06-01/runtime/invocation/"
INVOCATION_ROUTES = {b"response": RESPONSE, b"error": ERROR}

ACCEPTED = b'{"status":"OK"}\n'
FORWARDED_HEADERS = (b"lambda-runtime-trace-id", b"lambda-runtime-client-context", b"lambda-runtime-cognito-identity")

INVOKED_ARN = b"lambda-runtime-invoked-function-arn"
"""Of an invocation that names a version or an alias."""


class Route:
    """What a request asks for; `request_id` with RESPONSE and ERROR."""

    def __init__(self, kind: str, request_id: str = "") -> None:
        self.kind = kind
        self.request_id = request_id


def find_route(method: bytes, target: bytes) -> Route | None:
    """The route of a request, None if there is none."""
    path = target.partition(b"?")[0]
    kind = ROUTES.get((method, path))
    if kind is not None:
        return Route(kind)
    if method != b"POST" or not path.startswith(INVOCATION_PREFIX):
        return None
    request_id, _, action = path[len(INVOCATION_PREFIX) :].partition(b"/")
    found = INVOCATION_ROUTES.get(action)
    return Route(found, request_id.decode("latin-1")) if found and request_id else None


def invoked_arn(spec: Specialisation, caller: dict[bytes, bytes]) -> str:
    """What was invoked: a version or an alias, if the gateway's headers name one."""
    named = caller.get(INVOKED_ARN)
    return spec.function_arn if named is None else named.decode("latin-1")


def invocation_headers(arn: str, request_id: str, deadline_ms: int, caller: dict[bytes, bytes]) -> bytes:
    """The header lines that /next gives; `deadline_ms` is Unix time, `caller` the headers of the gateway."""
    lines = [
        b"Lambda-Runtime-Aws-Request-Id: " + request_id.encode("latin-1"),
        b"Lambda-Runtime-Deadline-Ms: %d" % deadline_ms,
        b"Lambda-Runtime-Invoked-Function-Arn: " + arn.encode(),
    ]
    lines += [name.title() + b": " + caller[name] for name in FORWARDED_HEADERS if caller.get(name)]
    return b"\r\n".join(lines) + b"\r\n"


def error_body(kind: str, message: str) -> bytes:
    """The body of an answer that refuses a request."""
    return json.dumps({"errorMessage": message, "errorType": kind}).encode() + b"\n"


INVALID_REQUEST_ID = error_body("InvalidRequestID", "Invalid request ID")


def too_large(limit: int) -> bytes:
    """413 to a runtime whose answer exceeds the limit in bytes."""
    return error_body("RequestEntityTooLarge", f"Exceeded maximum allowed payload size ({limit} bytes).")


def transition_refused(wanted: str, state: str) -> bytes:
    """403 to a runtime that does something out of turn."""
    message = f"State transition from {state} to {wanted} failed for runtime. Error: State transition is not allowed"
    return error_body("InvalidStateTransition", message)
