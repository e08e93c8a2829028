"""Lambda's Invoke API: names, qualifiers, errors in AWS's own letter case."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import botocore
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from funclet.core import lambda_api
from funclet.core.arn import account_id, function_arn
from funclet.core.function_pool import RESERVED_LIMIT
from funclet.core.lambda_api import MANAGEMENT, LambdaError, Management, Target, parse_target

ORDERS = account_id("orders")
REQUEST = "e4b46cbf-b738-4c0e-8880-a18cdf61200e"


def path(name: str, prefix: str = "", query: str = "") -> str:
    return f"{prefix}/2015-03-31/functions/{name}/invocations{query}"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (path("f"), Target(None, "f", None, None)),
        (path("f:1"), Target(None, "f", "1", None)),
        (path("f%3A%24LATEST"), Target(None, "f", "$LATEST", None)),
        (path("f", query="?Qualifier=live"), Target(None, "f", "live", None)),
        (path("f:live", query="?Qualifier=live"), Target(None, "f", "live", None)),
        (path("f", "/namespaces/orders"), Target("orders", "f", None, None)),
        (path(f"{ORDERS}:function:f:7"), Target(None, "f", "7", ORDERS)),
        (path(f"arn:aws:lambda:eu-west-1:{ORDERS}:function:f"), Target(None, "f", None, ORDERS)),
        (path(function_arn("us-east-1", "default", "f").replace(":", "%3A")), Target(None, "f", None, "000000000000")),
        ("/2014-11-13/functions/f/invoke-async/", Target(None, "f", None, None, "InvokeAsync")),
        (
            "/namespaces/orders/2014-11-13/functions/f:live/invoke-async",
            Target("orders", "f", "live", None, "InvokeAsync"),
        ),
        (f"{path('f')}/{REQUEST}", Target(None, "f", None, None, "GetInvocation", REQUEST)),
        ("/orders/1", None),
        ("/", None),
        ("/2015-03-31/functions/f", MANAGEMENT),
        ("/2015-03-31/functions/", MANAGEMENT),
        ("/namespaces/x/2015-03-31/functions", MANAGEMENT),
        ("/2014-11-13/functions/f/invocations", MANAGEMENT),
        (path("f") + "/not-an-id", MANAGEMENT),
        ("/namespaces/x/orders", None),
    ],
)
def test_targets(url: str, target: Target | Management | None) -> None:
    assert parse_target(url) == target


@pytest.mark.parametrize(
    ("url", "error_type"),
    [
        (path("a.b"), "InvalidParameterValueException"),
        (path("f:1", query="?Qualifier=2"), "InvalidParameterValueException"),
        (path("x" * 141), "InvalidParameterValueException"),
    ],
)
def test_what_names_no_function(url: str, error_type: str) -> None:
    error = parse_target(url)
    assert isinstance(error, LambdaError)
    assert error.error_type == error_type


@pytest.mark.parametrize(
    ("target", "namespace"),
    [
        (Target(None, "f", None, None), "default"),
        (Target("orders", "f", None, None), "orders"),
        (Target(None, "f", None, ORDERS), "orders"),
        (Target(None, "f", None, "000000000000"), "default"),
        (Target("orders", "f", None, "000000000000"), None),
        (Target(None, "f", None, "999999999999"), None),
    ],
)
def test_the_namespace_of_a_target(target: Target, namespace: str | None) -> None:
    assert lambda_api.find_namespace(target, "default", {ORDERS: "orders"}) == namespace


ERRORS = [
    (lambda_api.function_not_found("us-east-1", "default", "f", "7"), 404),
    (lambda_api.function_pending(), 409),
    (lambda_api.invocation_not_found(REQUEST), 404),
    (lambda_api.throttled("ReservedFunctionConcurrentInvocationLimitExceeded"), 429),
    (lambda_api.request_too_large(), 413),
    (lambda_api.event_too_large(1048577, 1048576), 413),
    (lambda_api.invalid_parameter("no"), 400),
    (lambda_api.check_payload(b"{"), 400),
    (lambda_api.decode_client_context("{"), 400),
    (lambda_api.recursive_invocation("default/f", 16), 400),
    (lambda_api.unavailable("later"), 503),
]


def service_model() -> dict[str, Any]:
    [file] = Path(botocore.__file__).parent.glob("data/lambda/2015-03-31/service-2.json*")
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    model: dict[str, Any] = json.loads(data)
    return model


@pytest.mark.parametrize(("error", "status"), ERRORS)
def test_errors_are_those_of_botocores_model(error: LambdaError, status: int) -> None:
    """Type, status, fault and members; a ServiceException is 500 in the model and 503 where a retry will help."""
    model = service_model()
    shape: Any = model["shapes"][error.error_type]
    declared = shape["error"]
    assert error.error_type in {item["shape"] for item in model["operations"]["Invoke"]["errors"]}
    assert error.status == status
    assert status == declared["httpStatusCode"] or (status == 503 and declared["httpStatusCode"] == 500)
    assert error.fault == ("User" if declared.get("senderFault") else "Service")
    body = json.loads(error.body())
    assert set(body) <= set(shape["members"])
    assert body[error.text_member] == error.message


def test_a_throttle_says_why_in_a_word_of_the_model() -> None:
    reasons: Any = service_model()["shapes"]["ThrottleReason"]
    assert json.loads(lambda_api.throttled(RESERVED_LIMIT).body())["Reason"] in reasons["enum"]


def test_an_event_that_is_too_large_is_refused_in_lambdas_words() -> None:
    error = lambda_api.event_too_large(1048577, 1048576)
    assert error.message == "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"


def test_the_arn_of_what_was_not_found() -> None:
    body = json.loads(lambda_api.function_not_found("eu-west-1", "default", "f", "7").body())
    assert body == {"Type": "User", "Message": "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:f:7"}


@pytest.mark.parametrize("payload", [b"", b"{}", b"1", b"null", b'"text"', b" [1] "])
def test_json_passes(payload: bytes) -> None:
    assert lambda_api.check_payload(payload) is None


@pytest.mark.parametrize("payload", [b"{", b"text", b"\xff", b"[" * 100_000])
def test_what_is_not_json_does_not(payload: bytes) -> None:
    error = lambda_api.check_payload(payload)
    assert error is not None
    assert error.error_type == "InvalidRequestContentException"


TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
).map(lambda value: json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))


@given(TEXTS, st.integers(0, 40), st.binary(max_size=2))
@example(b'"\\ud800"', 0, b"")
@example('{"a": 1}'.encode("utf-16"), 0, b"")
@example(b'{"a": "\xff"}', 0, b"")
def test_payloads_are_judged_as_the_standard_library_judges(text: bytes, place: int, damage: bytes) -> None:
    payload = text[:place] + damage + text[place + len(damage) :]
    try:
        json.loads(payload or b"{}")
        valid = True
    except ValueError:
        valid = False
    assert (lambda_api.check_payload(payload) is None) is valid


def test_a_client_context_becomes_one_line_of_ascii() -> None:
    given = base64.b64encode(json.dumps({"a": "ü\r\nb"}, ensure_ascii=False).encode()).decode()
    decoded = lambda_api.decode_client_context(given)
    assert isinstance(decoded, str)
    assert decoded.isascii()
    assert "\n" not in decoded
    assert json.loads(decoded) == {"a": "ü\r\nb"}
    assert isinstance(lambda_api.decode_client_context("e30"), LambdaError)
    assert isinstance(lambda_api.decode_client_context("a" * 4000), LambdaError)


def test_accounts_have_twelve_digits() -> None:
    assert account_id("default") == "000000000000"
    assert all(len(account_id(name)) == 12 and account_id(name).isdigit() for name in ("a", "b", "orders"))
