"""Usage summed up, and the command's table."""

from collections.abc import Callable
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.cli.usage import _hour, row, table
from funclet.core.usage import HourOfUsage, Usage, hour_of, sum_by_function

HOURS = [
    HourOfUsage("a", 10, "shop/pay", Usage(5, 1, 50, 6400)),
    HourOfUsage("b", 10, "shop/pay", Usage(2, 0, 20, 2560)),
    HourOfUsage("a", 11, "shop/pay", Usage(1, 0, 10, 1280)),
    HourOfUsage("a", 11, "blog/post", Usage(3, 3, 3, 384)),
]


@pytest.mark.parametrize(
    ("choose", "sums"),
    [
        (lambda: sum_by_function(HOURS), {"shop/pay": Usage(8, 1, 80, 10240), "blog/post": Usage(3, 3, 3, 384)}),
        (lambda: sum_by_function(HOURS, namespace="blog"), {"blog/post": Usage(3, 3, 3, 384)}),
        (lambda: sum_by_function(HOURS, until=11), {"shop/pay": Usage(7, 1, 70, 8960)}),
        (lambda: sum_by_function(HOURS, since=11, namespace="shop"), {"shop/pay": Usage(1, 0, 10, 1280)}),
        (lambda: sum_by_function(HOURS, since=12), {}),
    ],
)
def test_hours_and_gateways_are_summed_up(choose: Callable[[], dict[str, Usage]], sums: dict[str, Usage]) -> None:
    assert choose() == sums


@given(st.lists(st.builds(Usage, *[st.integers(0, 2**40)] * 4)), st.data())
def test_the_order_of_hours_does_not_matter(usages: list[Usage], data: st.DataObject) -> None:
    hours = [HourOfUsage("a", number, "n/f", usage) for number, usage in enumerate(usages)]
    assert sum_by_function(hours) == sum_by_function(data.draw(st.permutations(hours)))


@pytest.mark.parametrize(("seconds", "hour"), [(0, 0), (3599.9, 0), (3600, 1), (7199, 1)])
def test_an_hour_begins_on_the_hour(seconds: float, hour: int) -> None:
    assert hour_of(seconds) == hour


def test_times_of_the_command_are_utc() -> None:
    assert _hour(datetime(1970, 1, 2)) == 24
    assert _hour(None) is None


def test_the_table_has_a_line_a_function() -> None:
    lines = table([row("shop/pay", Usage(1_000_000, 1, 8000, 1024 * 1000))])
    assert lines[0].split() == ["FUNCTION", "INVOCATIONS", "ERRORS", "BILLED", "MS", "GB-SECONDS", "USD"]
    assert lines[1].split() == ["shop/pay", "1,000,000", "1", "8,000", "1.0", "0.20001667"]
