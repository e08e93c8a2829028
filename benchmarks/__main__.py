"""Measures every figure of the architecture's section 7 and prints it beside its budget: `make bench [ONLY=name]`.

Each benchmark runs in a process of its own, whose output goes to build/bench/NAME.log. What could not be measured is
said, and the others go on. Exit code 1: a figure is over its budget, or could not be measured.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.figure import Benchmark, Figure, from_json, to_json
from benchmarks.one import unmeasured
from benchmarks.report import COLUMNS, budget_text, rows, value_text, verdict
from benchmarks.suite import chosen
from funclet.adapters.parentage import be_terminated_with_parent

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "build" / "bench"
RESULT = ROOT / "build" / "bench.json"

NARROWEST = 140
"""Columns of the table where the output is no terminal."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else NARROWEST)


def run_logged(command: Sequence[str | Path], name: str) -> int:
    """A command whose output goes to its log; the exit code. When we are to end, it may clean up after itself first."""
    with (LOGS / f"{name}.log").open("w") as log:
        child = subprocess.Popen(
            [*map(str, command)],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=be_terminated_with_parent,  # noqa: PLW1509 (one system call)
        )
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.terminate()
            child.wait()
            raise


def last_line(name: str) -> str:
    """The last thing that a log says."""
    lines = (LOGS / f"{name}.log").read_text().strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def install_cluster() -> str:
    """Brings up the cluster with this checkout's code. Returns why that failed, or nothing."""
    with console.status("bringing up the cluster and installing Funclet"):
        if run_logged(["make", "cluster-install"], "cluster") == 0:
            return ""
    why = f"no cluster: {last_line('cluster')} (see build/bench/cluster.log)"
    console.print(f"[red]{why}[/]")
    return why


def measure(benchmark: Benchmark, under: Sequence[str]) -> list[Figure]:
    """Runs one benchmark in a child."""
    result = LOGS / f"{benchmark.name}.json"
    result.unlink(missing_ok=True)
    command = [*under, sys.executable, "-m", "benchmarks.one", benchmark.name, str(result)]
    began = time.monotonic()
    with console.status(f"{benchmark.name} …"):
        run_logged(command, benchmark.name)
    if result.exists():
        figures = [from_json(one) for one in json.loads(result.read_text())]
    else:
        figures = unmeasured(benchmark, f"ended early: {last_line(benchmark.name)}")
    for figure in figures:
        show(figure, time.monotonic() - began)
    return figures


def show(figure: Figure, seconds: float) -> None:
    """One line of progress."""
    colour = "green" if figure.is_within else "red"
    budget = f" (budget {budget_text(figure)})" if budget_text(figure) else ""
    why = f": {figure.why}" if figure.value is None else ""
    console.print(
        f"[{colour}]{verdict(figure):12}[/] {figure.name:34} {value_text(figure)}{budget}{why} [dim]{seconds:.0f} s[/]"
    )


def table(figures: Sequence[Figure]) -> Table:
    """All of them, for people."""
    lines = Table(*COLUMNS, box=box.SIMPLE_HEAD)
    for column in lines.columns[:3]:
        column.no_wrap = True
    for cells, figure in zip(rows(figures), figures, strict=True):
        lines.add_row(*cells, style=None if figure.is_within else "red")
    return lines


def keep(figures: Sequence[Figure]) -> list[Figure]:
    """Writes build/bench.json: these figures, and of earlier runs those that were not measured again."""
    fresh = {figure.name for figure in figures}
    before = [from_json(one) for one in json.loads(RESULT.read_text())] if RESULT.exists() else []
    merged = [*(one for one in before if one.name not in fresh), *figures]
    RESULT.write_text(json.dumps([to_json(one) for one in merged], indent=1, ensure_ascii=False) + "\n")
    return merged


def main() -> int:
    """Measure all that was asked for."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.partition("\n")[0])
    parser.add_argument("only", nargs="*", help="names of figures or files; without any: all")
    parser.add_argument("--under", default="", help="run each benchmark under this command, for instance 'flock FILE'")
    options = parser.parse_args()
    benchmarks = chosen(" ".join(options.only))
    LOGS.mkdir(parents=True, exist_ok=True)
    if not options.only:
        RESULT.unlink(missing_ok=True)
    (LOGS / "machine.json").write_text(json.dumps(machine.describe()))
    began, under = time.monotonic(), shlex.split(options.under)
    figures = [
        figure for benchmark in benchmarks if not benchmark.needs_cluster for figure in measure(benchmark, under)
    ]
    on_cluster = [benchmark for benchmark in benchmarks if benchmark.needs_cluster]
    no_cluster = install_cluster() if on_cluster else ""  # only now: a node has always something to do
    for benchmark in on_cluster:
        figures += unmeasured(benchmark, no_cluster) if no_cluster else measure(benchmark, under)
    keep(figures)
    console.print(table(figures))
    console.print(f"{len(figures)} figures in {time.monotonic() - began:.0f} s, also in {RESULT.relative_to(ROOT)}")
    return 0 if all(figure.is_within for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
