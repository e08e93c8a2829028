"""What is written of an asynchronous invocation: Lambda's invocation record, the dead letter, the result by its id."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from funclet.core.asynchronous import Event, Finish, Progress, Ran, TryAgain
from funclet.core.qualifiers import LATEST, name_of, version_of

RECORDED_PAYLOAD_BYTES = 256 * 1024
"""A longer response is left out of records and results: an invocation record may hold a request of 1 MB beside it."""
ERROR_MESSAGE_LENGTH = 1024

Status = Literal["Retrying", "Succeeded", "Failed"]


def destination_record(event: Event, function_arn: str, finish: Finish, now: datetime) -> dict[str, Any]:
    """What a destination gets. The function's ARN is without a qualifier.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html (example invocation record)
    """
    last = finish.progress.last
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": iso_milliseconds(now),
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": f"{function_arn}:{event.qualifier or LATEST}",
            "condition": finish.condition,
            "approximateInvokeCount": finish.progress.attempts,
        },
        "requestPayload": read_json(event.payload),
    }
    if last is not None:
        context: dict[str, Any] = {"statusCode": 200, "executedVersion": version_of(event.key)}
        if last.error is not None:
            context["functionError"] = last.error
        record["responseContext"] = context
        if len(last.payload) <= RECORDED_PAYLOAD_BYTES:
            record["responsePayload"] = read_json(last.payload)
    return record


def dead_letter_attributes(event: Event, finish: Finish) -> dict[str, str]:
    """Lambda's three message attributes of a dead letter.

    "RequestID: the ID of the invocation request. ErrorCode: the HTTP status code. ErrorMessage: the first 1 KB of the
    error message." https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """
    code = 200 if finish.progress.last is not None else 429
    message = " ".join(_error_message(finish).split())[:ERROR_MESSAGE_LENGTH]
    return {"RequestID": event.request_id, "ErrorCode": str(code), "ErrorMessage": message}


def _error_message(finish: Finish) -> str:
    last = finish.progress.last
    failure = read_json(last.payload) if last is not None else None
    if isinstance(failure, dict) and failure.get("errorMessage"):
        return str(failure["errorMessage"])
    return finish.condition


def result_document(event: Event, step: Finish | TryAgain, now: datetime) -> dict[str, Any]:
    """What is kept of an event by its request id after an attempt; callers read it as it is."""
    progress = step.progress
    document: dict[str, Any] = {
        "requestId": event.request_id,
        "functionName": name_of(event.key),
        "status": _status(step),
        "attempts": progress.attempts,
        "acceptedAt": iso_milliseconds(datetime.fromtimestamp(event.accepted_ms / 1000, UTC)),
        "updatedAt": iso_milliseconds(now),
    }
    if isinstance(step, Finish):
        document["condition"] = step.condition
    else:
        document["nextAttemptAt"] = iso_milliseconds(now + timedelta(seconds=step.delay_seconds))
    if progress.last is not None:
        if progress.last.error is not None:
            document["functionError"] = progress.last.error
        if len(progress.last.payload) <= RECORDED_PAYLOAD_BYTES:
            document["responsePayload"] = read_json(progress.last.payload)
    return document


def _status(step: Finish | TryAgain) -> Status:
    if isinstance(step, TryAgain):
        return "Retrying"
    return "Succeeded" if step.succeeded else "Failed"


def read_result(document: dict[str, Any], now: datetime) -> Finish | TryAgain:
    """The step that `result_document` told of, as it stands now."""
    last = None
    if document["attempts"]:
        payload = json.dumps(document.get("responsePayload"), ensure_ascii=False).encode()
        last = Ran(payload, document.get("functionError"))
    progress = Progress(int(document["attempts"]), 0, last)
    if "condition" in document:
        return Finish(document["condition"], progress)
    due = datetime.fromisoformat(document["nextAttemptAt"])
    return TryAgain(max(0.0, (due - now).total_seconds()), progress)


def read_json(payload: bytes) -> Any:
    """The value of a payload; its text where it is no JSON."""
    try:
        return json.loads(payload or b"null")
    except (ValueError, RecursionError):
        return payload.decode("utf-8", "replace")


def iso_milliseconds(moment: datetime) -> str:
    """2019-11-14T18:16:05.568Z, as AWS writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
