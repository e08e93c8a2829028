"""How long a cold start is expected to take."""

from hypothesis import given
from hypothesis import strategies as st

from funclet.core.pace import LONGEST_SECONDS, SHORTEST_SECONDS, Pace
from funclet.core.scaling import COLD_START_SECONDS

POOL, OTHER = ("default", "python3.13"), ("default", "python3.12")


def test_before_anything_was_seen_it_is_the_usual() -> None:
    assert Pace().expected_seconds(POOL, warm=True) == COLD_START_SECONDS


def test_it_follows_what_is_seen_pool_by_pool() -> None:
    pace = Pace()
    for _ in range(20):
        pace.observe(POOL, 1.0, warm=False)
    assert 0.95 < pace.expected_seconds(POOL, warm=False) < 1.0
    assert pace.expected_seconds(POOL, warm=True) == COLD_START_SECONDS
    assert pace.expected_seconds(OTHER, warm=False) == COLD_START_SECONDS


def test_one_slow_start_changes_little() -> None:
    pace = Pace()
    pace.observe(POOL, 600.0, warm=False)
    assert pace.expected_seconds(POOL, warm=False) < 1.2


@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans())))
def test_it_stays_within_its_bounds(seen: list[tuple[float, bool]]) -> None:
    pace = Pace()
    for seconds, warm in seen:
        pace.observe(POOL, seconds, warm=warm)
        assert SHORTEST_SECONDS <= pace.expected_seconds(POOL, warm=warm) <= LONGEST_SECONDS
