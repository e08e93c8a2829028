"""The records of asynchronous invocations, beside the examples in AWS's documentation."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from funclet.core.asynchronous import Event, Finish, Progress, Ran, TryAgain
from funclet.core.invocation_record import (
    RECORDED_PAYLOAD_BYTES,
    dead_letter_attributes,
    destination_record,
    read_result,
    result_document,
)

ARN = "arn:aws:lambda:us-east-2:123456789012:function:my-function"
NOW = datetime(2019, 11, 14, 18, 16, 5, 568000, UTC)
EVENT = Event(
    "e4b46cbf-b738-xmpl-8880-a18cdf61200e", "default/my-function", b'{"ORDER_IDS": ["a", "b"]}', 1573755364000
)
FAILURE = Ran(b'{"errorMessage": "RequestId: e4b Process exited\\nbefore completing request"}', "Unhandled")


def test_lambdas_own_example_of_an_invocation_record() -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"""
    record = destination_record(EVENT, ARN, Finish("RetriesExhausted", Progress(3, 0, FAILURE)), NOW)
    assert record == {
        "version": "1.0",
        "timestamp": "2019-11-14T18:16:05.568Z",
        "requestContext": {
            "requestId": "e4b46cbf-b738-xmpl-8880-a18cdf61200e",
            "functionArn": f"{ARN}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": {"ORDER_IDS": ["a", "b"]},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "RequestId: e4b Process exited\nbefore completing request"},
    }


def test_a_record_of_an_alias_has_its_arn_and_the_version_that_ran() -> None:
    event = replace(EVENT, key="default/my-function:2", qualifier="live")
    record = destination_record(event, ARN, Finish("RetriesExhausted", Progress(3, 0, FAILURE)), NOW)
    assert record["requestContext"]["functionArn"] == f"{ARN}:live"
    assert record["responseContext"]["executedVersion"] == "2"
    assert result_document(event, Finish("Success", Progress(1)), NOW)["functionName"] == "my-function"


def test_the_record_of_a_success_names_no_error() -> None:
    record = destination_record(EVENT, ARN, Finish("Success", Progress(1, 0, Ran(b'"done"'))), NOW)
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert record["responsePayload"] == "done"


def test_an_event_that_never_ran_has_no_response() -> None:
    record = destination_record(EVENT, ARN, Finish("EventAgeExceeded", Progress()), NOW)
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert not record.keys() & {"responseContext", "responsePayload"}


def test_a_long_response_is_left_out() -> None:
    answer = Ran(json.dumps("x" * RECORDED_PAYLOAD_BYTES).encode())
    record = destination_record(EVENT, ARN, Finish("Success", Progress(1, 0, answer)), NOW)
    assert "responsePayload" not in record
    assert record["responseContext"]["statusCode"] == 200


def test_a_dead_letter_has_lambdas_three_attributes() -> None:
    attributes = dead_letter_attributes(EVENT, Finish("RetriesExhausted", Progress(3, 0, FAILURE)))
    assert attributes == {
        "RequestID": EVENT.request_id,
        "ErrorCode": "200",
        "ErrorMessage": "RequestId: e4b Process exited before completing request",
    }
    never = dead_letter_attributes(EVENT, Finish("EventAgeExceeded", Progress()))
    assert (never["ErrorCode"], never["ErrorMessage"]) == ("429", "EventAgeExceeded")


STEPS: list[TryAgain | Finish] = [
    TryAgain(60.0, Progress(1, 0, FAILURE)),
    Finish("Success", Progress(2, 0, Ran(b'{"a": "\xc3\xbc"}'))),
    Finish("RetriesExhausted", Progress(3, 0, FAILURE)),
    Finish("EventAgeExceeded", Progress()),
]


@pytest.mark.parametrize("step", STEPS)
def test_a_result_tells_how_far_an_event_has_come(step: TryAgain | Finish) -> None:
    known = read_result(json.loads(json.dumps(result_document(EVENT, step, NOW))), NOW)
    assert type(known) is type(step)
    assert known.progress.attempts == step.progress.attempts
    assert (known.progress.last is None) == (step.progress.last is None)
    assert getattr(known, "condition", None) == getattr(step, "condition", None)


def test_a_result_tells_when_the_next_attempt_is_due() -> None:
    document = result_document(EVENT, STEPS[0], NOW)
    assert document["nextAttemptAt"] == "2019-11-14T18:17:05.568Z"
    later = read_result(document, NOW + timedelta(seconds=20))
    assert isinstance(later, TryAgain)
    assert later.delay_seconds == 40
    due = read_result(document, NOW + timedelta(seconds=70))
    assert isinstance(due, TryAgain)
    assert due.delay_seconds == 0


def test_what_callers_read() -> None:
    document = result_document(EVENT, Finish("Success", Progress(1, 0, Ran(b"[1]"))), NOW)
    assert document == {
        "requestId": EVENT.request_id,
        "functionName": "my-function",
        "status": "Succeeded",
        "condition": "Success",
        "attempts": 1,
        "acceptedAt": "2019-11-14T18:16:04.000Z",
        "updatedAt": "2019-11-14T18:16:05.568Z",
        "responsePayload": [1],
    }
