"""Trace headers and their lineage."""

import pytest

from funclet.core.trace import (
    LINEAGE_FUNCTIONS,
    TraceContext,
    advance,
    from_traceparent,
    lineage_token,
    move,
    read_context,
    read_header,
)

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


TRACE = "5759e988bd862e3fe1be46a994272793"


@pytest.mark.parametrize(
    ("header", "place"),
    [
        (ROOT, TraceContext(TRACE, "53995c3f42cd8ad8", sampled=True)),
        ("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0", TraceContext(TRACE, sampled=False)),
        ("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=?", TraceContext(TRACE)),
        (f"Self=1-1-1;{ROOT};Lineage=a87bd80c:1", TraceContext(TRACE, "53995c3f42cd8ad8", sampled=True)),
        (ROOT.replace(";", "; "), TraceContext(TRACE, "53995c3f42cd8ad8", sampled=True)),
        ("Root=1-5759e988-bd862e3fe1be46a994272793f", None),
        ("Uproot=1-5759e988-bd862e3fe1be46a994272793", None),
        ("Self=1", None),
    ],
)
def test_the_place_that_a_header_names(header: str, place: TraceContext | None) -> None:
    assert read_context(header) == place


@pytest.mark.parametrize(
    ("header", "rest"),
    [
        (ROOT, ""),
        (f"{ROOT};Lineage={ORDERS}:1", f";Lineage={ORDERS}:1"),
        (f"Self=2;{ROOT.replace(';', '; ')};Lineage={ORDERS}:1", f";Self=2;Lineage={ORDERS}:1"),
        ("Self=2", ";Self=2"),
        ("Sampled=0", ""),
    ],
)
def test_a_header_is_moved_to_another_place_and_says_the_rest_as_before(header: str, rest: str) -> None:
    place = TraceContext("a" * 32, "b" * 16, sampled=True)
    moved = move(header, place)
    assert moved == f"Root=1-aaaaaaaa-{'a' * 24};Parent={'b' * 16};Sampled=1{rest}"
    assert read_context(moved) == place
