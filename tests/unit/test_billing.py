"""Billed milliseconds and GB-seconds."""

import pytest

from funclet.core.billing import billed_ms, gb_seconds


@pytest.mark.parametrize(
    ("duration_us", "init_us", "milliseconds"),
    [
        (0, 0, 1),
        (1, 0, 1),
        (1000, 0, 1),
        (1001, 0, 2),
        (999, 1, 1),
        (999, 2, 2),
        (2_500_000, 0, 2500),
        (41, 20_000, 21),
    ],
)
def test_billed_duration(duration_us: int, init_us: int, milliseconds: int) -> None:
    assert billed_ms(duration_us, init_us) == milliseconds


@pytest.mark.parametrize(
    ("memory_mib", "milliseconds", "expected"), [(1024, 1000, 1.0), (128, 1, 0.000125), (512, 2000, 1.0)]
)
def test_gb_seconds(memory_mib: int, milliseconds: int, expected: float) -> None:
    assert gb_seconds(memory_mib, milliseconds) == expected
