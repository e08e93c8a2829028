"""How a source is batched, and when a batch is taken."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.api.trigger import JetStreamSource
from funclet.core.batching import (
    Load,
    Policy,
    backlog_batches,
    batches_to_take,
    policy_of,
    poll_seconds,
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
