"""Destinations and dead-letter queues: ARNs to Lambda's callers, places to the resources."""

import re
from typing import Any

from funclet.core.arn import account_id, function_arn
from funclet.core.management.refusals import invalid

_FUNCTION = re.compile(
    r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:(?P<account>\d{12}):function:(?P<name>[a-z0-9-]+)"
    r"(?::\$LATEST|(?P<qualifier>:[A-Za-z0-9_-]+))?"
)
_QUEUE = re.compile(r"arn:aws[a-z-]*:sqs:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):(?P<name>[A-Za-z0-9_-]+)")
_QUEUE_URL = re.compile(
    r"https://sqs\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/(?P<account>\d{12})/(?P<name>[A-Za-z0-9_-]+)"
)


def read_destination(parameter: str, arn: str, namespace: str) -> dict[str, str]:
    """What `api.event_invoke.Destination` says for this ARN."""
    if queue := _QUEUE.fullmatch(arn):
        return {"sqsQueueUrl": f"https://sqs.{queue['region']}.amazonaws.com/{queue['account']}/{queue['name']}"}
    function = _FUNCTION.fullmatch(arn)
    if function and function["account"] == account_id(namespace):
        return {"function": function["name"] + (function["qualifier"] or "")}
    raise invalid(
        f"{parameter} is {arn}; it must be the ARN of an SQS queue or of a function of the same namespace. For a NATS "
        "subject or an HTTP endpoint set it in the Function resource"
    )


def destination_arn(place: dict[str, Any], region: str, namespace: str) -> str:
    """The ARN of a destination; of what has none, the place itself."""
    if name := place.get("function"):
        return function_arn(region, namespace, name)
    url = place.get("sqsQueueUrl", "")
    if queue := _QUEUE_URL.fullmatch(url):
        return f"arn:aws:sqs:{queue['region']}:{queue['account']}:{queue['name']}"
    return str(url or place.get("url") or place.get("subject"))
