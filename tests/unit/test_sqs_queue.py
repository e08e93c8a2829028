"""Where queues are, what their servers' errors mean, and how many polls may wait."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from funclet.api.sqs import SqsSource
from funclet.core.batching import Policy, sqs_policy_of
from funclet.core.sqs_event import Queue
from funclet.core.sqs_message import SqsMessage
from funclet.core.sqs_queue import SqsPlace, origin_of, place_of, poll_wait_seconds, reason_of

ARN = "arn:aws:sqs:eu-west-1:123456789012:orders"
URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
HERE = "http://elasticmq:9324"


def source(**fields: Any) -> SqsSource:
    return SqsSource.model_validate(fields)


@pytest.mark.parametrize(
    ("given", "url", "endpoint", "region"),
    [
        ({"queueUrl": URL}, URL, "https://sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ({"queueArn": ARN}, URL, "https://sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ({"queueArn": ARN, "endpointUrl": f"{HERE}/"}, f"{HERE}/123456789012/orders", HERE, "eu-west-1"),
        ({"queueArn": ARN, "region": "x-1"}, URL, "https://sqs.eu-west-1.amazonaws.com", "x-1"),
        ({"queueUrl": f"{HERE}/queue/orders"}, f"{HERE}/queue/orders", HERE, "us-east-1"),
        ({"queueUrl": f"{HERE}/queue/orders", "region": "r-9"}, f"{HERE}/queue/orders", HERE, "r-9"),
        ({"queueUrl": URL, "endpointUrl": HERE}, URL, HERE, "us-east-1"),
        (
            {"queueArn": "arn:aws-cn:sqs:cn-north-1:123456789012:q.fifo"},
            "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q.fifo",
            "https://sqs.cn-north-1.amazonaws.com.cn",
            "cn-north-1",
        ),
    ],
)
def test_a_queue_is_found_by_its_url_or_arn(given: dict[str, str], url: str, endpoint: str, region: str) -> None:
    assert place_of(source(**given), "shop", "us-east-1") == SqsPlace(url, endpoint, region, "shop")


def test_records_come_from_the_queues_arn_or_from_what_stands_for_it() -> None:
    place = place_of(source(queueUrl=URL), "shop", "us-east-1")
    assert origin_of(ARN, place) == Queue("orders", "eu-west-1", "123456789012")
    assert origin_of(ARN, place).arn == ARN
    assert origin_of("", place) == Queue("orders", "eu-west-1", "000000000000")


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, "QueueDoesNotExist", "QueueNotFound"),
        (400, "AWS.SimpleQueueService.NonExistentQueue", "QueueNotFound"),
        (404, "InvalidAddress", "QueueNotFound"),
        (403, "", "AccessDenied"),
        (400, "AccessDeniedException", "AccessDenied"),
        (400, "UnrecognizedClientException", "AccessDenied"),
        (400, "InvalidSecurity", "AccessDenied"),
        (400, "KmsAccessDenied", "AccessDenied"),
        (400, "ExpiredTokenException", "AccessDenied"),
        (400, "RequestThrottled", "Unreachable"),
        (404, "", "Unreachable"),
        (500, "InternalFailure", "Unreachable"),
        (503, "", "Unreachable"),
    ],
)
def test_an_error_says_who_must_act(status: int, code: str, reason: str) -> None:
    assert reason_of(status, code) == reason


@pytest.mark.parametrize(
    ("pollers", "places", "seconds"), [(1, 1000, 20), (1000, 1000, 20), (2000, 1000, 10), (9, 1, 2), (10**6, 1, 1)]
)
def test_polls_wait_for_shorter_when_there_are_many(pollers: int, places: int, seconds: int) -> None:
    assert poll_wait_seconds(pollers, places) == seconds


@given(st.integers(1, 100_000), st.integers(1, 5000))
def test_a_turn_to_poll_comes_within_the_longest_poll_as_long_as_that_is_possible(pollers: int, places: int) -> None:
    wait = poll_wait_seconds(pollers, places)
    assert 1 <= wait <= 20
    assert wait == 1 or wait * pollers <= 20 * max(places, min(pollers, places))


def test_a_trigger_says_the_policy() -> None:
    given = source(
        queueUrl=URL, batchSize=500, maximumBatchingWindowInSeconds=7, scalingConfig={"maximumConcurrency": 4},
        functionResponseTypes=["ReportBatchItemFailures"],
    )  # fmt: skip
    policy = sqs_policy_of(given).with_visibility(30)
    assert policy == Policy(500, 7.0, None, 30, maximum_concurrency=4, report_failures=True)
    assert policy.heartbeat_seconds == 10


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "exactly one of queueUrl and queueArn"),
        ({"queueUrl": URL, "queueArn": ARN}, "exactly one of queueUrl and queueArn"),
        ({"queueUrl": URL, "batchSize": 11}, "maximumBatchingWindowInSeconds of 1 or more, not 0 with 11"),
        ({"queueUrl": f"{URL}.fifo", "batchSize": 11, "maximumBatchingWindowInSeconds": 1}, "a FIFO queue takes"),
        ({"queueArn": f"{ARN}.fifo", "maximumBatchingWindowInSeconds": 1}, "a FIFO queue takes"),
        ({"queueUrl": URL, "scalingConfig": {"maximumConcurrency": 1}}, "greater than or equal to 2"),
        ({"queueUrl": "sqs://orders"}, "queueUrl"),
        ({"queueUrl": "http://host/"}, "queueUrl"),
        ({"queueArn": "arn:aws:sns:eu-west-1:123456789012:orders"}, "queueArn"),
    ],
)
def test_what_is_no_queue_is_refused_with_what_would_be_right(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        source(**wrong)


MESSAGE = {"MessageId": "m", "ReceiptHandle": "r", "Body": "b", "MD5OfBody": "d"}


@pytest.mark.parametrize(
    ("attributes", "group"),
    [
        ({}, ""),
        ({"MessageGroupId": "a", "SequenceNumber": "1"}, "a"),
        ({"MessageGroupId": "tenant"}, ""),  # of a standard queue: a fair queue, without order
    ],
)
def test_only_messages_of_fifo_queues_have_an_order(attributes: dict[str, str], group: str) -> None:
    assert SqsMessage.parse({**MESSAGE, "Attributes": attributes}).group == group


def test_a_message_says_where_it_comes_from() -> None:
    texts = {"traceparent": {"DataType": "String", "StringValue": "00-1"}, "raw": {"BinaryValue": "AA=="}}
    given = {**MESSAGE, "MessageAttributes": texts, "Attributes": {"AWSTraceHeader": "Root=1-2-3"}}
    assert SqsMessage.parse(given).headers == {"traceparent": "00-1", "x-amzn-trace-id": "Root=1-2-3"}
