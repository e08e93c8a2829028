"""`funclet simulate`: what scaling policies would do with a trace of calls, without a cluster."""

import dataclasses
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from funclet.core.arrivals import PROCESSES, Workload, azure_mix, synthetic_trace
from funclet.core.baselines import HPA_PERIOD_SECONDS, PercentileKeepAlive, instance_per_call, ladder
from funclet.core.keep_alive import LEAST_SECONDS, MOST_SECONDS, AdaptiveKeepAlive, FixedKeepAlive, IdleHistory
from funclet.core.scaling import Policy, decide
from funclet.core.simulation import REPORT_SECONDS, Decide, Strategy, Trace, simulate
from funclet.core.simulation_summary import Summary, find_equal_timeout, summarise
from funclet.core.trace_csv import read_trace
from funclet.errors import InvalidSpec

KEEP_ALIVES: dict[str, Callable[[float], IdleHistory]] = {
    "fixed": FixedKeepAlive,
    "adaptive": AdaptiveKeepAlive,
    "percentile": lambda _: PercentileKeepAlive(),
}
SCALE_OUTS: dict[str, tuple[Decide, float]] = {
    "one-step": (decide, REPORT_SECONDS),
    "per-call": (instance_per_call, REPORT_SECONDS),
    "ladder": (ladder, HPA_PERIOD_SECONDS),
}
"""The decision, and how often it is made while calls wait."""


@dataclass(frozen=True)
class KeepAliveChoice:
    """One --keep-alive: NAME or NAME:SECONDS."""

    text: str
    name: str
    seconds: float

    def history(self) -> IdleHistory:
        """A new one for one function."""
        return KEEP_ALIVES[self.name](self.seconds)


class KeepAliveType(click.ParamType[KeepAliveChoice]):
    """fixed[:SECONDS], adaptive[:SECONDS] or percentile."""

    name = "NAME[:SECONDS]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> KeepAliveChoice:
        """Refuses names that there are not, and times out of bounds."""
        name, _, text = str(value).partition(":")
        try:
            seconds = float(text or 60)
        except ValueError:
            seconds = 0.0
        if name not in KEEP_ALIVES or not LEAST_SECONDS <= seconds <= MOST_SECONDS:
            form = f"must be {', '.join(KEEP_ALIVES)}, with :SECONDS from {LEAST_SECONDS:.0f} to {MOST_SECONDS:.0f}"
            self.fail(f"{value!r} {form}", param, ctx)
        return KeepAliveChoice(str(value), name, seconds)


@click.command(short_help="Compare scaling policies on a trace.")
@click.argument("trace", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--arrivals",
    type=click.Choice([*PROCESSES, "azure"]),
    default="azure",
    show_default=True,
    help="Without TRACE: how calls arrive.",
)
@click.option("--functions", type=click.IntRange(1), default=100, show_default=True, help="How many functions.")
@click.option("--hours", type=click.FloatRange(0, min_open=True), default=24.0, show_default=True, help="For how long.")
@click.option(
    "--mean-seconds",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Between two calls of one function, on average; azure has its own.",
)
@click.option(
    "--duration-ms",
    type=click.FloatRange(0, 900_000, min_open=True),
    default=100.0,
    show_default=True,
    help="Of a call at the median; in a TRACE, of calls without their own. azure has its own.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same trace.")
@click.option(
    "--keep-alive",
    "keep_alives",
    type=KeepAliveType(),
    multiple=True,
    default=["fixed:60", "adaptive:60"],
    show_default=True,
    help="What to compare: fixed:60 (a timeout), adaptive:60 (a price), percentile. May be given often.",
)
@click.option(
    "--scale-out",
    "scale_outs",
    type=click.Choice(list(SCALE_OUTS)),
    multiple=True,
    default=["one-step"],
    show_default=True,
    help="one-step: Funclet's; per-call: an instance for each call; ladder: climbs every 15 s. May be given often.",
)
@click.option("--equal-idle", is_flag=True, help="Beside each policy, the fixed timeout that keeps as many GB-s idle.")
@click.option(
    "--start-ms",
    type=click.FloatRange(1, 600_000),
    default=100.0,
    show_default=True,
    help="From the decision to an instance that serves, its init phase included.",
)
@click.option(
    "--concurrency", type=click.IntRange(1, 100), default=1, show_default=True, help="Calls at once, by instance."
)
@click.option("--max-instances", type=click.IntRange(1, 1000), default=100, show_default=True, help="Of one function.")
@click.option("--memory", type=click.IntRange(128, 10240), default=128, show_default=True, help="MiB of one instance.")
@click.option("--json", "as_json", is_flag=True, help="A list of objects instead of a table.")
def simulate_command(
    trace: Path | None,
    keep_alives: tuple[KeepAliveChoice, ...],
    scale_outs: tuple[str, ...],
    *,
    equal_idle: bool,
    start_ms: float,
    concurrency: int,
    max_instances: int,
    memory: int,
    as_json: bool,
    duration_ms: float,
    **synthetic: Any,
) -> None:
    """Simulate scaling policies on the calls of TRACE, or on synthetic ones.

    TRACE is CSV with the heading function,timestamp or function,timestamp,duration_ms. Timestamps are seconds, or times
    of RFC 3339. The decisions are those of the scaler's own code; docs/scaling.md explains the figures.
    """
    calls = _load(trace, duration_ms) if trace else _make(duration_ms=duration_ms, **synthetic)
    policy = Policy(concurrency=concurrency, max_instances=max_instances)
    summaries = []
    for scale_out in scale_outs:
        for choice in keep_alives:
            decision, report_seconds = SCALE_OUTS[scale_out]
            strategy = Strategy(decision, choice.history, policy, start_ms / 1000, report_seconds)
            summaries += _compare(calls, strategy, f"{scale_out} {choice.text}", memory, equal_idle=equal_idle)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(summary) for summary in summaries], indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else WIDEST).print(_table(summaries, len(calls)))


def _load(path: Path, duration_ms: float) -> Trace:
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            return read_trace(lines, duration_ms)
    except InvalidSpec as error:
        raise click.ClickException(f"{path}, {error.message}") from error
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{path} is not UTF-8 text: {error}") from error


def _make(arrivals: str, functions: int, hours: float, mean_seconds: float, duration_ms: float, seed: int) -> Trace:
    uniform = random.Random(seed).random  # noqa: S311 (not a secret)
    if arrivals == "azure":
        return azure_mix(functions, hours * 3600, uniform)
    return synthetic_trace(arrivals, Workload(functions, hours * 3600, mean_seconds, duration_ms / 1000), uniform)


def _compare(calls: Trace, strategy: Strategy, name: str, memory_mib: int, *, equal_idle: bool) -> list[Summary]:
    outcome = simulate(calls, strategy)
    summaries = [summarise(name, outcome, memory_mib)]
    if equal_idle:
        timeout, equal = find_equal_timeout(calls, strategy, outcome.held_seconds)
        summaries.append(summarise(f"{name.split()[0]} fixed:{timeout:.4g}", equal, memory_mib))
    return summaries


WIDEST = 200
"""Columns of the table where the output is no terminal."""

ROWS: tuple[tuple[str, Callable[[Summary], str]], ...] = (
    ("cold starts", lambda one: f"{one.cold_starts:,}"),
    ("  of all calls, %", lambda one: f"{one.cold_percent:.2f}"),
    ("  of 3 in 4 functions, %", lambda one: f"{one.cold_percent_p75_function:.2f}"),
    ("wait p50, ms", lambda one: f"{one.wait_p50_ms:.0f}"),
    ("  p95", lambda one: f"{one.wait_p95_ms:.0f}"),
    ("  p99", lambda one: f"{one.wait_p99_ms:.0f}"),
    ("  longest", lambda one: f"{one.wait_max_ms:.0f}"),
    ("GB-seconds used", lambda one: f"{one.used_gb_seconds:,.0f}"),
    ("  idle", lambda one: f"{one.idle_gb_seconds:,.0f}"),
    ("starts", lambda one: f"{one.starts:,}"),
    ("  foreseen", lambda one: f"{one.predicted_starts:,}"),
    ("most instances", lambda one: f"{one.peak_instances:,}"),
)


def _table(summaries: list[Summary], functions: int) -> Table:
    table = Table(title=f"{summaries[0].calls:,} calls of {functions:,} functions", title_justify="left")
    table.add_column("", no_wrap=True)
    for summary in summaries:
        table.add_column(summary.strategy.replace(" ", "\n"), justify="right", no_wrap=True)
    for heading, cell in ROWS:
        table.add_row(heading, *map(cell, summaries))
    return table
