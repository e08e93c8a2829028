"""`funclet simulate`: traces from CSV, what is wrong with them, and what is printed."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from funclet.cli.main import main
from funclet.core.trace_csv import read_trace
from funclet.errors import InvalidSpec

HEADING = "function,timestamp,duration_ms"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *arguments], env={"COLUMNS": "200"})


def run_json(*arguments: str) -> list[dict[str, Any]]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_a_trace_is_read_by_function_in_order_from_its_first_call_on() -> None:
    lines = ["function, timestamp, duration_ms", "b,107.5,20", "a,100,", "a,99.5,30", "", '"x, y",1e2,0']
    trace = read_trace(lines, default_duration_ms=50)
    assert {name: (list(calls.arrivals), list(calls.durations)) for name, calls in trace.items()} == {
        "b": ([8.0], [0.02]),
        "a": ([0.0, 0.5], [0.03, 0.05]),
        "x, y": ([0.5], [0.0]),
    }


def test_times_of_day_are_timestamps_too() -> None:
    lines = ["function,timestamp", "a,2024-06-26T12:00:00.5+02:00", "a,2024-06-26T10:01:00Z"]
    assert list(read_trace(lines, 50)["a"].arrivals) == [0.0, 59.5]


BAD = [
    # (what it is, lines, field, what the message has to say)
    ("no heading", ["a,1"], "heading", "line 1: the heading is 'a,1'; it must be function,timestamp"),
    ("nothing", [], "heading", "line 1: the heading is ''"),
    ("no calls", [HEADING], "trace", "the trace has no calls"),
    ("too many fields", [HEADING, "a,1,2,3"], "line", "line 2: 4 fields in 'a,1,2,3'; there must be 2 or 3"),
    ("one field", [HEADING, "a,1", "a"], "line", "line 3: 1 fields in 'a'"),
    ("no name", [HEADING, " ,1,2"], "function", "line 2: function is empty"),
    ("no time", [HEADING, "a,soon,2"], "timestamp", "line 2: timestamp is 'soon'; it must be seconds (12.5)"),
    ("no zone", [HEADING, "a,2024-06-26T10:00:00,2"], "timestamp", "with its zone"),
    ("not finite", [HEADING, "a,nan,2"], "timestamp", "line 2: timestamp is 'nan'"),
    ("a negative duration", [HEADING, "a,1,-2"], "duration_ms", "'-2'; it must be milliseconds, 0 to 900000"),
    ("too long", [HEADING, "a,1,900001"], "duration_ms", "line 2: duration_ms is '900001'"),
    ("no duration", [HEADING, "a,1,2ms"], "duration_ms", "line 2: duration_ms is '2ms'"),
]


@pytest.mark.parametrize(("lines", "field", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_line_is_named(lines: list[str], field: str, message: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        read_trace(lines, 50)
    assert message in error.value.message
    assert error.value.field == field


def test_a_csv_is_simulated(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(f"{HEADING}\n" + "".join(f"hello,{30 * number},200\n" for number in range(100)))
    (summary,) = run_json(str(path), "--keep-alive", "fixed:60", "--start-ms", "250")
    assert (summary["calls"], summary["cold_starts"], summary["wait_max_ms"]) == (100, 1, 250.0)
    assert summary["used_gb_seconds"] == pytest.approx(100 * 0.2 / 8)


def test_what_is_wrong_with_a_file_is_said_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(f"{HEADING}\nhello,1,2\nhello,x,2\n")
    result = run(str(path))
    assert result.exit_code == 1
    assert f"Error: {path}, line 3: timestamp is 'x'" in result.output
    path.write_bytes(b"function,timestamp\n\xff\xfe,1\n")
    assert "is not UTF-8 text" in run(str(path)).output


@pytest.mark.parametrize(("value", "name"), [("fixed:0", "fixed:0"), ("fixed:x", "fixed:x"), ("magic", "magic")])
def test_an_unknown_keep_alive_is_refused(value: str, name: str) -> None:
    result = run("--keep-alive", value)
    assert result.exit_code == 2
    assert f"'{name}' must be fixed, adaptive, percentile, with :SECONDS from 1 to 86400" in result.output


def test_the_same_seed_prints_the_same() -> None:
    arguments = ("--functions", "5", "--hours", "2", "--seed", "3")
    assert run_json(*arguments) == run_json(*arguments)
    assert run_json(*arguments) != run_json("--functions", "5", "--hours", "2", "--seed", "4")


def test_each_choice_has_its_column_and_its_equal() -> None:
    result = run(
        *("--arrivals", "poisson", "--functions", "2", "--hours", "2", "--equal-idle", "--scale-out", "one-step"),
        *("--scale-out", "ladder", "--keep-alive", "adaptive:60", "--keep-alive", "percentile"),
    )
    assert result.exit_code == 0, result.output
    first, second = (line.split("┃")[2:-1] for line in result.output.splitlines() if line.startswith("┃"))
    names = [f"{scale_out.strip()} {keep_alive.strip()}" for scale_out, keep_alive in zip(first, second, strict=True)]
    assert names[0] == "one-step adaptive:60"
    assert names[2] == "one-step percentile"
    assert names[1].startswith("one-step fixed:")
    assert names[4] == "ladder adaptive:60"
    assert len(names) == 8


def test_equal_idle_means_equal_idle() -> None:
    adaptive, fixed = run_json(
        "--arrivals", "lognormal", "--functions", "10", "--equal-idle", "--keep-alive", "adaptive:60"
    )
    assert fixed["idle_gb_seconds"] == pytest.approx(adaptive["idle_gb_seconds"], rel=0.005)
