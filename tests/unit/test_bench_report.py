"""The benchmarks' figures: their budgets, their JSON, their table."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.figure import Benchmark, Beside, Budget, Figure, Peer, Unmeasured, from_json, to_json
from benchmarks.one import run
from benchmarks.quiet import Quiet, await_quiet, busy_share
from benchmarks.report import beside_text, budget_text, markdown_table, number, value_text, verdict
from benchmarks.suite import SUITE, chosen
from benchmarks.warm_path import percentile

ROOT = Path(__file__).resolve().parents[2]
GO = Peer("Go", 40.0)
FIGURE = Figure(
    "gateway_cpu_us", 24.0, "µs", Budget(25), [GO, Peer("Fission", 513.0, source="a page")], ratio_budget=Budget(0.7)
)


@pytest.mark.parametrize(
    ("value", "budget", "within"),
    [(25, Budget(25), True), (25.1, Budget(25), False), (0.9, Budget(0.9, at_least=True), True),
     (0.89, Budget(0.9, at_least=True), False), (1, None, True), (None, None, False)],
)  # fmt: skip
def test_a_figure_keeps_its_budget_or_not(value: float | None, budget: Budget | None, within: bool) -> None:
    assert Figure("f", value, "", budget).is_within is within


@pytest.mark.parametrize(("value", "within"), [(24.0, True), (28.1, False)])
def test_the_ratio_has_a_budget_of_its_own(value: float, within: bool) -> None:
    assert Figure("f", value, "µs", Budget(100), [GO], ratio_budget=Budget(0.7)).is_within is within
    assert not Figure("f", value, "µs", Budget(100), [], ratio_budget=Budget(0.7)).is_within


def test_json_holds_what_the_issue_names_and_can_be_read_back() -> None:
    written = to_json(FIGURE)
    assert {name: written[name] for name in ("name", "value", "unit", "budget", "against", "ratio")} == {
        "name": "gateway_cpu_us", "value": 24.0, "unit": "µs", "budget": 25, "against": "Go", "ratio": 0.6,
    }  # fmt: skip
    assert from_json(json.loads(json.dumps(written))) == FIGURE


def test_the_table_says_all_of_it() -> None:
    assert (value_text(FIGURE), budget_text(FIGURE), verdict(FIGURE)) == ("24 µs", "≤ 25, ≤ 0.7 × Go", "ok")
    assert beside_text(FIGURE) == "Go 40 (0.6 ×); Fission 513 (0.047 ×) (quoted: a page)"
    assert markdown_table([FIGURE]).count("\n") == 3
    missing = Figure("f", None, "", why="haproxy is not on this machine")
    assert (value_text(missing), beside_text(missing)) == ("not measured", "haproxy is not on this machine")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.04681, "0.0468"), (1.0, "1"), (1.237, "1.24"), (23.44, "23.4"), (513.2, "513"), (12345.6, "12,346")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_benchmarks_are_chosen_by_figure_or_file() -> None:
    assert [one.name for one in chosen("gateway_cpu_us, instance_cpu")] == ["gateway_cpu", "instance_cpu"]
    assert chosen("") == list(SUITE)
    with pytest.raises(SystemExit, match="there is no figure 'gatway'"):
        chosen("gatway")


def test_every_figure_has_one_benchmark() -> None:
    names = [name for one in SUITE for name in one.figures]
    assert len(names) == len(set(names))


def test_the_page_says_how_every_figure_is_measured() -> None:
    how = (ROOT / "docs" / "performance.md").read_text().partition("## How each is measured")[2]
    for benchmark in SUITE:
        [line] = [line for line in how.splitlines() if f"`{benchmark.name}.py`" in line]
        assert all(f"`{figure}`" in line for figure in benchmark.figures)


def lacks_a_program() -> Figure:
    raise Unmeasured("haproxy is not on this machine: apt-get install haproxy")


def breaks() -> Figure:
    raise ValueError("no")


def hangs() -> Figure:
    threading.Event().wait(30)
    return FIGURE


@pytest.mark.parametrize(
    ("measure", "why"),
    [
        (lacks_a_program, "haproxy is not on this machine: apt-get install haproxy"),
        (breaks, "failed: ValueError: no"),
        (hangs, "took more than 1 s"),
    ],
)
def test_what_could_not_be_measured_is_said(measure: Callable[[], Figure], why: str) -> None:
    figures = run(Benchmark(measure, ("one_us", "other_us"), limit_seconds=1))
    assert [(one.name, one.value, one.why) for one in figures] == [("one_us", None, why), ("other_us", None, why)]


def test_a_peer_that_cannot_be_had_is_left_out_and_said() -> None:
    def missing() -> float:
        raise Unmeasured("install it")

    beside = Beside()
    beside.add("Go", lambda: 40.0)
    beside.add("HAProxy", missing)
    assert beside.peers == [GO]
    assert beside.why == "without HAProxy: install it"


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.95, 1.0)] == [1.0, 51.0, 96.0, 100.0]


def test_a_machine_that_was_not_quiet_is_named_beside_the_figure() -> None:
    assert busy_share((100, 1000), (150, 1200)) == 0.25
    assert busy_share((100, 1000), (100, 1000)) == 0
    assert Quiet(3.0, 0.2).why == ""
    assert Quiet(60.0, 0.97).why == "the machine was 97% busy before, even after 60 s"


def test_a_quiet_machine_is_waited_for_so_long_and_no_longer() -> None:
    quiet = await_quiet(patience_seconds=0.0)
    assert 0 <= quiet.busy_share <= 1
