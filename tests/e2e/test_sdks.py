"""boto3, both AWS CLIs and the AWS SDK for JavaScript see the same Lambda: one table of invocations for all of them."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.e2e.conftest import Deployer
from tests.e2e.sdks import AWS_CLIS, SDKS, Outcome, Sdk
from tests.e2e.worlds import World, eventually

pytestmark = pytest.mark.timeout(600)
"""The first run on a machine installs clients."""

SOURCE = """
    def handler(event, context):
        print("handling", event)
        kind = event.get("kind") if isinstance(event, dict) else None
        if kind == "fail":
            raise ValueError("bad value")
        if kind == "context":
            return {"custom": context.client_context.custom, "app": context.client_context.client.app_title}
        return pieces() if kind == "pieces" else {"event": event, "arn": context.invoked_function_arn}

    def pieces():
        yield "one "
        yield "two "
        yield "three"
"""
CONTEXT = base64.b64encode(json.dumps({"custom": {"a": "ü"}, "client": {"app_title": "shop"}}).encode()).decode()
ARN = "arn:aws:lambda:us-east-1:"


@dataclass(frozen=True)
class Case:
    """Parameters beside FunctionName, and what of the outcome must be so. {name} in texts is the function's."""

    name: str
    parameters: dict[str, str] = field(default_factory=dict)
    operation: str = "Invoke"
    status: int = 200
    payload: object = None
    """As JSON, where it is not None; of an object, at least these members."""
    function_error: str | None = None
    executed_version: str | None = "$LATEST"
    log: str = ""
    """A part of the log; where it is empty there is no log."""
    error: str | None = None
    message: str = ""
    """A part of the error's message."""


STREAM = "InvokeWithResponseStream"
CASES = [
    Case("an event", {"Payload": '{"n": "ü"}'}, payload={"event": {"n": "ü"}}),
    Case("no payload", payload={"event": {}}),
    Case("an event that is no object", {"Payload": '["a", 1]'}, payload={"event": ["a", 1]}),
    Case("$LATEST", {"Qualifier": "$LATEST", "Payload": "1"}, payload={"event": 1}),
    Case("a partial ARN", {"FunctionName": "function:{name}", "Payload": "2"}, payload={"event": 2}),
    Case("an error of the function", {"Payload": '{"kind": "fail"}'}, function_error="Unhandled",
         payload={"errorType": "ValueError", "errorMessage": "bad value"}),
    Case("a log", {"LogType": "Tail", "Payload": '"x"'}, payload={"event": "x"}, log="handling x\n"),
    Case("the log of an error", {"LogType": "Tail", "Payload": '{"kind": "fail"}'}, function_error="Unhandled",
         payload={"errorType": "ValueError"}, log="REPORT RequestId: "),
    Case("a client context", {"ClientContext": CONTEXT, "Payload": '{"kind": "context"}'},
         payload={"custom": {"a": "ü"}, "app": "shop"}),
    Case("DryRun", {"InvocationType": "DryRun"}, status=204),
    Case("Event", {"InvocationType": "Event", "Payload": "3"}, status=202, executed_version=None),
    Case("pieces, asked for whole", {"Payload": '{"kind": "pieces"}'}, payload="one two three"),
    Case("bad JSON", {"Payload": "{nonsense"}, status=400, error="InvalidRequestContentException",
         message="Could not parse request body into json"),
    Case("a bad client context", {"ClientContext": "bm9uc2Vuc2U="}, status=400, error="InvalidRequestContentException",
         message="Client context must be Base64-encoded JSON"),
    Case("more than 6 MB", {"Payload": json.dumps("x" * 6 * 1024 * 1024)}, status=413, error="RequestTooLargeException",
         message="Request must be smaller than 6291456 bytes"),
    Case("an event of more than 1 MB", {"InvocationType": "Event", "Payload": json.dumps("x" * 1024 * 1024)},
         status=413, error="RequestTooLargeException", message="too large for the Event invocation type"),
    Case("an unknown function", {"FunctionName": "no-such-function"}, status=404, error="ResourceNotFoundException",
         message="Function not found: " + ARN),
    Case("an unknown version", {"Qualifier": "42"}, status=404, error="ResourceNotFoundException",
         message="function:{name}:42"),
    Case("DryRun of an unknown function", {"FunctionName": "no-such-function", "InvocationType": "DryRun"}, status=404,
         error="ResourceNotFoundException"),
    Case("a stream", {"Payload": '{"kind": "pieces"}', "LogType": "Tail"}, STREAM, payload="one two three",
         log="handling "),
    Case("a stream of one piece", {"Payload": "4"}, STREAM, payload={"event": 4}),
    Case("a stream that fails", {"Payload": '{"kind": "fail"}'}, STREAM, function_error="ValueError"),
    Case("a stream of an unknown function", {"FunctionName": "no-such-function"}, STREAM, status=404,
         error="ResourceNotFoundException"),
    Case("a stream with bad JSON", {"Payload": "{nonsense"}, STREAM, status=400,
         error="InvalidRequestContentException"),
]  # fmt: skip
RUNS = [
    pytest.param(sdk, case, id=f"{sdk.name}: {case.name}")
    for sdk in SDKS
    for case in CASES
    if sdk.streams or case.operation != STREAM
]


@pytest.fixture(scope="module")
def function(world: World) -> Iterator[str]:
    """One for all of them."""
    deployer = Deployer(world)
    yield deployer.function(SOURCE, scaling={"idleTimeoutSeconds": 60})
    deployer.clean()


@pytest.mark.parametrize(("sdk", "case"), RUNS)
def test_an_invocation(sdk: Sdk, case: Case, world: World, function: str) -> None:
    parameters = {"FunctionName": function, **case.parameters}
    parameters["FunctionName"] = parameters["FunctionName"].format(name=function)
    outcome = sdk.call(world, case.operation, parameters)
    assert outcome.error == case.error, outcome
    assert outcome.status in (case.status, None)  # the AWS CLIs do not tell the status of an error
    if case.error:
        assert case.message.format(name=function) in outcome.message
        return
    assert (outcome.function_error, outcome.executed_version) == (case.function_error, case.executed_version)
    check_payload(case, outcome)
    check_log(case, outcome)


def check_payload(case: Case, outcome: Outcome) -> None:
    if isinstance(case.payload, str):
        assert outcome.payload == case.payload
    elif isinstance(case.payload, dict):
        assert case.payload.items() <= json.loads(outcome.payload).items()
    else:
        assert outcome.payload == ""


def check_log(case: Case, outcome: Outcome) -> None:
    if case.log:
        assert case.log in base64.b64decode(outcome.log_result or "").decode()
    else:
        assert outcome.log_result is None


@pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: str(sdk.name))
def test_a_function_that_is_stopped(sdk: Sdk, world: World, deploy: Deployer) -> None:
    function = deploy.function(SOURCE, reservedConcurrentExecutions=0)

    def is_throttled() -> bool:
        outcome = sdk.call(world, "Invoke", {"FunctionName": function})
        assert (outcome.error, outcome.message) == ("TooManyRequestsException", "Rate Exceeded."), outcome
        if sdk not in AWS_CLIS:  # they tell neither
            assert (outcome.status, outcome.reason) == (429, "ReservedFunctionConcurrentInvocationLimitExceeded")
        return True

    eventually(is_throttled)
