"""Which traces are recorded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.core.sampling import SAMPLERS, parse_sampler
from funclet.errors import InvalidSpec

LOW, HIGH = "f" * 16 + "0" * 16, "0" * 16 + "f" * 16
"""The share is told by the lower half alone."""


@pytest.mark.parametrize(
    ("name", "argument", "of_low_and_high", "of_yes_and_no"),
    [
        ("", "", (True, True), (True, False)),
        ("always_on", "", (True, True), (True, True)),
        ("always_off", "", (False, False), (False, False)),
        ("traceidratio", "0.5", (True, False), (True, False)),
        ("traceidratio", "", (True, True), (True, True)),
        ("traceidratio", "0", (False, False), (False, False)),
        ("parentbased_always_on", "", (True, True), (True, False)),
        ("parentbased_always_off", "", (False, False), (True, False)),
        ("parentbased_traceidratio", "0.5", (True, False), (True, False)),
    ],
)
def test_the_samplers(
    name: str, argument: str, of_low_and_high: tuple[bool, bool], of_yes_and_no: tuple[bool, bool]
) -> None:
    sampler = parse_sampler(name, argument)
    assert (sampler.samples(LOW), sampler.samples(HIGH)) == of_low_and_high
    assert (sampler.samples(LOW, True), sampler.samples(HIGH, False)) == of_yes_and_no


def test_a_caller_is_not_asked_by_a_sampler_that_is_not_parent_based() -> None:
    sampler = parse_sampler("traceidratio", "0.5")
    assert (sampler.samples(LOW, False), sampler.samples(HIGH, True)) == (True, False)


@given(st.integers(0, 2**64 - 1), st.floats(0, 1), st.floats(0, 1))
def test_a_trace_of_a_smaller_share_is_in_every_larger_one(number: int, one: float, other: float) -> None:
    smaller, larger = (parse_sampler("traceidratio", str(share)) for share in sorted((one, other)))
    trace_id = "0" * 16 + f"{number:016x}"
    assert smaller.samples(trace_id) <= larger.samples(trace_id)


@pytest.mark.parametrize(
    ("name", "argument", "variable"),
    [
        ("sometimes", "", "OTEL_TRACES_SAMPLER"),
        ("jaeger_remote", "", "OTEL_TRACES_SAMPLER"),
        ("traceidratio", "much", "OTEL_TRACES_SAMPLER_ARG"),
        ("traceidratio", "1.5", "OTEL_TRACES_SAMPLER_ARG"),
        ("traceidratio", "nan", "OTEL_TRACES_SAMPLER_ARG"),
    ],
)
def test_what_is_no_sampler_is_refused_by_name(name: str, argument: str, variable: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_sampler(name, argument)
    assert caught.value.field == variable
    assert (argument or name) in caught.value.message
    assert argument or SAMPLERS[0] in caught.value.message
