"""Conditions: one a kind, with a time that moves with the status alone."""

import pytest

from funclet.core.conditions import READY, Finding, find, holds, settle

GOOD, BAD, WORSE = Finding(True, "Resolved"), Finding(False, "SecretNotFound", "a"), Finding(False, "InvalidCode", "b")


def test_the_first_finding_has_the_time_of_now() -> None:
    (condition,) = settle([], READY, BAD, generation=3, now="t1")
    assert (condition.status, condition.reason, condition.message) == ("False", "SecretNotFound", "a")
    assert (condition.observed_generation, condition.last_transition_time) == (3, "t1")


@pytest.mark.parametrize(("then", "time"), [(BAD, "t1"), (WORSE, "t1"), (GOOD, "t2")])
def test_the_time_changes_with_the_status_alone(then: Finding, time: str) -> None:
    before = settle([], READY, BAD, generation=1, now="t1")
    (condition,) = settle(before, READY, then, generation=2, now="t2")
    assert condition.last_transition_time == time
    assert condition.reason == then.reason


def test_other_conditions_stay() -> None:
    conditions = settle(settle([], "Other", BAD, generation=1, now="t"), READY, GOOD, generation=1, now="t")
    assert [condition.type for condition in conditions] == ["Other", READY]
    assert holds(conditions)
    assert not holds(conditions, "Other")
    assert find(conditions, "Absent") is None
    assert not holds([], READY)
