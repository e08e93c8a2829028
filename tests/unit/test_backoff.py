"""Waits between attempts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.core.backoff import REDELIVERY, Backoff


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (8, 60), (1000, 60), (0, 0.5)])
def test_waits_double_up_to_the_cap(attempt: int, seconds: float) -> None:
    assert REDELIVERY.delay(attempt) == seconds


@given(st.integers(min_value=1, max_value=10**9), st.floats(min_value=0, max_value=1))
def test_chance_spreads_over_the_upper_half(attempt: int, chance: float) -> None:
    backoff = Backoff(base_seconds=0.2, cap_seconds=5)
    longest = backoff.delay(attempt)
    assert longest / 2 <= backoff.delay(attempt, chance) <= longest <= 5
