"""When a batch is taken, and what becomes of its messages."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.api.trigger import JetStreamSource
from funclet.core.batching import (
    Acknowledge,
    Answer,
    Delivery,
    Failed,
    GiveUp,
    Load,
    Policy,
    Postponed,
    Retry,
    Succeeded,
    backlog_batches,
    batches_to_take,
    describe_error,
    find_failures,
    policy_of,
    poll_seconds,
    settle,
)

POLICY = Policy(batch_size=10, window_seconds=0, maximum_receives=3, ack_wait_seconds=33)


def test_a_trigger_says_the_policy() -> None:
    source = JetStreamSource(
        stream="S",
        batch_size=5,
        maximum_batching_window_in_seconds=7,
        function_response_types=["ReportBatchItemFailures"],
        maximum_concurrency=4,
        dead_letter_subject="dead",
    )
    policy = policy_of(source, timeout_seconds=10)
    assert policy == Policy(5, 7.0, 5, 47.0, 4, "dead", True)
    assert policy.heartbeat_seconds == pytest.approx(47 / 3)


@pytest.mark.parametrize(
    ("batch_size", "concurrency", "pending"),
    [(1, 1, 1000), (100, 100, 10_000), (10_000, 1000, 65_536), (20, None, 2000)],
)
def test_pending_messages_are_bounded(batch_size: int, concurrency: int | None, pending: int) -> None:
    policy = replace(POLICY, batch_size=batch_size, maximum_concurrency=concurrency)
    assert policy.max_ack_pending == pending


@pytest.mark.parametrize(
    ("load", "limit", "batches"),
    [
        (Load(0), None, 0),
        (Load(1), None, 1),
        (Load(1000), None, 100),
        (Load(1001), None, 101),
        (Load(1000), 5, 5),
        (Load(1000, invoking=20, invoking_batches=2), 5, 3),
        (Load(20, invoking=20, invoking_batches=2), None, 0),
        (Load(5, invoking=20, invoking_batches=2), None, 0),  # acknowledged meanwhile
    ],
)
def test_the_backlog_counts_what_waits(load: Load, limit: int | None, batches: int) -> None:
    assert backlog_batches(replace(POLICY, maximum_concurrency=limit), load) == batches


@pytest.mark.parametrize(
    ("load", "slots", "limit", "take"),
    [
        (Load(1000), 0, None, 0),
        (Load(1000), 4, None, 4),
        (Load(15), 4, None, 2),
        (Load(1000), 4, 3, 3),
        (Load(1000, gathering_batches=1, invoking=10, invoking_batches=2), 4, None, 1),
        (Load(25, gathering_batches=1, invoking=10, invoking_batches=1), 4, None, 1),
        (Load(20, gathering_batches=1, invoking=10, invoking_batches=1), 4, None, 0),
        (Load(1000, invoking=40, invoking_batches=4), 2, None, 0),  # slots went away
        (Load(0), 4, None, 0),
    ],
)
def test_a_batch_is_taken_when_it_has_a_slot_and_messages(load: Load, slots: int, limit: int | None, take: int) -> None:
    assert batches_to_take(replace(POLICY, maximum_concurrency=limit), load, slots) == take


@given(
    st.integers(0, 5000),
    st.integers(0, 500),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 50),
    st.integers(1, 50),
)
def test_batches_in_flight_never_exceed_slots_or_limit(
    depth: int, invoking: int, gathering: int, batches: int, slots: int, limit: int
) -> None:
    load = Load(depth, invoking, gathering, batches)
    take = batches_to_take(replace(POLICY, maximum_concurrency=limit), load, slots)
    assert take == 0 or take + gathering + batches <= min(slots, limit)


@pytest.mark.parametrize(("depth", "since_wake", "seconds"), [(1, 100, 0.2), (0, 0.1, 0.05), (0, 2, 5.0)])
def test_the_stream_is_looked_at_as_often_as_it_needs(depth: int, since_wake: float, seconds: float) -> None:
    assert poll_seconds(depth, since_wake) == seconds


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
