"""What becomes of the messages of a batch."""

from dataclasses import replace

import pytest

from funclet.core.batching import Policy
from funclet.core.settlement import (
    Acknowledge,
    Answer,
    Delivery,
    Failed,
    Fate,
    GiveUp,
    Leave,
    Postponed,
    Retry,
    Succeeded,
    broken_groups,
    describe_error,
    find_failures,
    settle,
)

POLICY = Policy(batch_size=10, window_seconds=0, maximum_receives=3, ack_wait_seconds=33)


@pytest.mark.parametrize(
    ("payload", "failures"),
    [
        (b"", set()),
        (b"null", set()),
        (b"{}", set()),
        (b'{"batchItemFailures": null}', set()),
        (b'{"batchItemFailures": []}', set()),
        (b'{"batchItemFailures": [{"itemIdentifier": "a"}]}', {"a"}),
        (b'{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "b"}]}', {"a", "b"}),
        (b"not JSON", None),
        (b'"text"', None),
        (b"[]", None),
        (b'{"batchItemFailures": "a"}', None),
        (b'{"batchItemFailures": [{"itemIdentifier": ""}]}', None),
        (b'{"batchItemFailures": [{"itemIdentifier": null}]}', None),
        (b'{"batchItemFailures": [{"itemIdentifier": ["a"]}]}', None),
        (b'{"batchItemFailures": [{"badKey": "a"}]}', None),
        (b'{"batchItemFailures": ["a"]}', None),
        (b'{"batchItemFailures": [{"itemIdentifier": "unknown"}]}', None),
        (b"\xff", None),
    ],
)
def test_the_answer_names_failed_messages_as_lambda_reads_it(payload: bytes, failures: set[str] | None) -> None:
    assert find_failures(payload, ["a", "b"]) == failures


FIRST, LAST = Delivery("first", 1), Delivery("last", 3)
REPORTING = replace(POLICY, report_failures=True)
NAMES_BOTH = b'{"batchItemFailures": [{"itemIdentifier": "first"}, {"itemIdentifier": "last"}]}'
NAMES_FIRST = b'{"batchItemFailures": [{"itemIdentifier": "first"}]}'


@pytest.mark.parametrize(
    ("policy", "answer", "fates"),
    [
        (POLICY, Succeeded(b"anything"), [Acknowledge(), Acknowledge()]),
        (POLICY, Succeeded(NAMES_BOTH), [Acknowledge(), Acknowledge()]),
        (POLICY, Failed("Unhandled"), [Retry(0.5), GiveUp("Unhandled")]),
        (POLICY, Postponed("Throttled"), [Retry(0.5, counts=False), Retry(2, counts=False)]),
        (POLICY, Postponed("Throttled", 5), [Retry(5, counts=False), Retry(5, counts=False)]),
        (POLICY, Postponed("Throttled", 0), [Retry(0.5, counts=False), Retry(2, counts=False)]),
        (REPORTING, Succeeded(b"null"), [Acknowledge(), Acknowledge()]),
        (REPORTING, Succeeded(NAMES_FIRST), [Retry(0.5), Acknowledge()]),
        (REPORTING, Succeeded(NAMES_BOTH), [Retry(0.5), GiveUp("BatchItemFailure")]),
        (REPORTING, Succeeded(b"["), [Retry(0.5), GiveUp("MalformedBatchItemFailures")]),
        (REPORTING, Failed("Unhandled"), [Retry(0.5), GiveUp("Unhandled")]),
    ],
)
def test_the_answer_settles_each_message(policy: Policy, answer: Answer, fates: list[object]) -> None:
    assert settle(policy, [FIRST, LAST], answer) == fates


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        (b'{"errorMessage": "no\\nluck", "errorType": "ValueError"}', "Unhandled: ValueError: no luck"),
        (b'{"errorMessage": "no luck"}', "Unhandled: no luck"),
        (b"not JSON", "Unhandled"),
        (b"[]", "Unhandled"),
    ],
)
def test_an_error_is_described_in_one_line(payload: bytes, line: str) -> None:
    assert describe_error("Unhandled", payload) == line


def test_a_long_error_is_cut() -> None:
    assert len(describe_error("Unhandled", b'{"errorMessage": "' + b"x" * 10_000 + b'"}')) == 512


QUEUE = Policy(batch_size=10, window_seconds=0, maximum_receives=None, ack_wait_seconds=30, report_failures=True)
ORDERED = [Delivery("a1", 1, "a"), Delivery("b1", 9, "b"), Delivery("a2", 1, "a"), Delivery("b2", 1, "b")]
UNORDERED = [Delivery(each.message_id, each.receives) for each in ORDERED]


@pytest.mark.parametrize(
    ("batch", "answer", "deleted"),
    [
        (ORDERED, Succeeded(b""), "a1 b1 a2 b2"),
        (ORDERED, Failed("Unhandled"), ""),
        (ORDERED, Succeeded(b'{"batchItemFailures": [{"itemIdentifier": "a1"}]}'), "b1 b2"),
        (ORDERED, Succeeded(b'{"batchItemFailures": [{"itemIdentifier": "a2"}]}'), "a1 b1 b2"),
        (ORDERED, Succeeded(b'{"batchItemFailures": [{"itemIdentifier": "x"}]}'), ""),
        (UNORDERED, Succeeded(b'{"batchItemFailures": [{"itemIdentifier": "a1"}]}'), "b1 a2 b2"),
        (UNORDERED, Failed("Unhandled"), ""),
    ],
)
def test_a_queue_that_counts_itself_keeps_what_failed_and_the_rest_of_its_group(
    batch: list[Delivery], answer: Answer, deleted: str
) -> None:
    fates = settle(QUEUE, batch, answer)
    assert [d.message_id for d, fate in zip(batch, fates, strict=True) if fate == Acknowledge()] == deleted.split()
    assert set(map(type, fates)) <= {Acknowledge, Leave}


def test_the_groups_that_later_events_of_the_batch_must_not_touch() -> None:
    fates: list[Fate] = [Acknowledge(), Leave(), Leave(), Leave()]
    assert broken_groups(ORDERED, fates) == {"a", "b"}
    assert broken_groups(UNORDERED, fates) == frozenset()
