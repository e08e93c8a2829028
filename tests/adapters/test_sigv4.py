"""Signatures: what botocore signs is taken, and nothing that was changed afterwards."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from funclet.adapters.sigv4 import Key, check_local, check_signature, read_signature
from funclet.core.management.refusals import Refusal
from funclet.core.messages import ManagementHead

KEY = Key("AKIDEXAMPLE", "secret")
ENDPOINT = "http://funclet.example:8080/namespaces/shop"


class Nothing:
    """An answer's body."""

    def stream(self) -> list[bytes]:
        return []


def signed(operation: str, **params: Any) -> tuple[ManagementHead, bytes]:
    """The request that boto3 would send."""
    client = boto3.client(
        "lambda", endpoint_url=ENDPOINT, region_name="eu-central-1", aws_access_key_id=KEY.access_key_id,
        aws_secret_access_key=KEY.secret_access_key,
    )  # fmt: skip
    sent: list[AWSPreparedRequest] = []

    def keep(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        sent.append(request)
        return AWSResponse(request.url, 204, {}, Nothing())

    client.meta.events.register("before-send.lambda", keep)
    getattr(client, operation)(**params)
    (request,) = sent
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else str(value)
        for name, value in request.headers.items()
    }
    url = request.url.removeprefix("http://funclet.example:8080")
    head = ManagementHead(
        method=request.method, url=url, headers={"host": "funclet.example:8080", **headers}, default_namespace="default"
    )
    body = request.body or b""
    return head, body.encode() if isinstance(body, str) else bytes(body)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("delete_function", {"FunctionName": "f", "Qualifier": "$LATEST"}),
        ("delete_function", {"FunctionName": "arn:aws:lambda:eu-central-1:000000000000:function:f:1"}),
        ("tag_resource", {"Resource": "arn:aws:lambda:eu-central-1:000000000000:function:f", "Tags": {"a b": "ü/~"}}),
        (
            "untag_resource",
            {"Resource": "arn:aws:lambda:eu-central-1:000000000000:function:f", "TagKeys": ["b ä", "a"]},
        ),
    ],
)
def test_what_boto3_signs_is_taken(operation: str, params: dict[str, Any]) -> None:
    head, body = signed(operation, **params)
    check_signature(head, body, KEY, now())


def refusal(head: ManagementHead, body: bytes, key: Key = KEY, moment: datetime | None = None) -> str:
    with pytest.raises(Refusal) as refused:
        check_signature(head, body, key, moment or now())
    assert refused.value.error.status == 403
    return refused.value.error.error_type


def test_what_is_changed_afterwards_is_refused() -> None:
    head, body = signed("tag_resource", Resource="arn:aws:lambda:eu-central-1:000000000000:function:f", Tags={"a": "b"})
    other_host = {**head.headers, "host": "other.example"}
    for changed, content in (
        (head, body.replace(b"b", b"c")),
        (head.model_copy(update={"method": "PUT"}), body),
        (head.model_copy(update={"url": head.url.replace("/shop/", "/bank/")}), body),
        (head.model_copy(update={"headers": other_host}), body),
        (head.model_copy(update={"headers": {**head.headers, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}}), body),
    ):
        assert refusal(changed, content) == "InvalidSignatureException"


def test_another_key_and_another_secret_are_refused() -> None:
    head, body = signed("delete_function", FunctionName="f")
    assert refusal(head, body, Key("OTHER", "secret")) == "UnrecognizedClientException"
    assert refusal(head, body, replace(KEY, secret_access_key="other")) == "InvalidSignatureException"


def test_a_signature_is_good_for_a_few_minutes() -> None:
    head, body = signed("delete_function", FunctionName="f")
    check_signature(head, body, KEY, now() + timedelta(minutes=2))
    for minutes in (-10, 10):
        assert refusal(head, body, moment=now() + timedelta(minutes=minutes)) == "InvalidSignatureException"


@pytest.mark.parametrize(
    "given", [{}, {"authorization": ""}, {"authorization": "Bearer x"}, {"authorization": "AWS4-HMAC-SHA256"}]
)
def test_what_is_not_signed_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(Refusal) as refused:
        read_signature(given)
    assert refused.value.error.error_type == "MissingAuthenticationTokenException"


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        ("localhost:8080", True),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("page.example:8080", False),
        ("", False),
    ],
)
def test_in_local_mode_a_web_page_can_ask_for_nothing(host: str, taken: bool) -> None:
    """Whatever name it has made lead here."""
    head, _ = signed("delete_function", FunctionName="f")
    named = head.model_copy(update={"headers": {**head.headers, "host": host}})
    if taken:
        check_local(named)
    else:
        with pytest.raises(Refusal, match="it must be localhost or an address"):
            check_local(named)


def test_a_secret_is_in_no_representation() -> None:
    assert "secret" not in repr(KEY).replace("secret_access_key", "")
