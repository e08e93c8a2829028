"""Trace headers and their lineage."""

import pytest

from funclet.core.trace import LINEAGE_FUNCTIONS, advance, from_traceparent, lineage_token, read_header

ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
ORDERS, MAIL = lineage_token("shop/orders"), lineage_token("shop/mail")


def test_each_invocation_is_counted_for_its_function() -> None:
    header, counts = ROOT, []
    for token in (ORDERS, MAIL, ORDERS, ORDERS):
        header, before = advance(header, token)
        counts.append(before)
    assert counts == [0, 0, 1, 2]
    assert header == f"{ROOT};Lineage={MAIL}:1,{ORDERS}:3"


def test_what_follows_the_lineage_stays() -> None:
    assert advance(f"Root=1;Lineage={ORDERS}:4;Self=2", ORDERS) == (f"Root=1;Self=2;Lineage={ORDERS}:5", 4)


def test_the_separator_of_awss_own_examples_is_understood() -> None:
    assert advance("Root=1;Lineage=a87bd80c:1|68fd508a:5", "68fd508a")[1] == 5


def test_a_header_does_not_grow_for_ever() -> None:
    header = ROOT
    for number in range(100):
        header, _ = advance(header, lineage_token(f"shop/f{number}"))
    assert header.count(":") == LINEAGE_FUNCTIONS
    assert read_header(header) == header


@pytest.mark.parametrize("value", ["", "a\r\nb: c", "x" * 2000, "é"])
def test_what_is_no_header_is_not_passed_on(value: str) -> None:
    assert read_header(value) is None


@pytest.mark.parametrize(
    ("given", "header"),
    [
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1",
        ),
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=0",
        ),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", None),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", None),
        ("ff", None),
    ],
)
def test_w3cs_traceparent_becomes_an_x_ray_header(given: str, header: str | None) -> None:
    assert from_traceparent(given) == header
