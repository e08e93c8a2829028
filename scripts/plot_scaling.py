"""Draws docs/img/keep-alive.svg from `funclet simulate --json`: cold starts over idle memory, policy by policy.

`make plots` runs it: python scripts/plot_scaling.py .venv/bin/funclet docs/img
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

TRACES = {
    "A mix like Azure Functions', 100 functions": ["--arrivals", "azure", "--functions", "100"],
    "Lognormal gaps, 20 functions": ["--arrivals", "lognormal", "--functions", "20", "--mean-seconds", "300"],
    "Every ten minutes, 20 functions": ["--arrivals", "cron", "--functions", "20", "--mean-seconds", "600"],
}
SECONDS = (15, 30, 60, 120, 240, 480, 960)
STYLES = {"fixed": ("#888888", "o", "fixed timeout"), "adaptive": ("#0072b2", "s", "adaptive")}


def simulate(funclet: str, options: list[str]) -> list[dict[str, Any]]:
    """One run over one trace, with every policy at every time."""
    choices = [f"--keep-alive={name}:{seconds}" for name in STYLES for seconds in SECONDS]
    command = [funclet, "simulate", "--json", *options, *choices]
    found: list[dict[str, Any]] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603
    return found


def draw(funclet: str, folder: Path) -> None:
    """One panel a trace."""
    mpl.rcParams.update({"svg.hashsalt": "funclet", "svg.fonttype": "none", "font.size": 9})
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    for axes, (title, options) in zip(figure.subplots(1, len(TRACES)), TRACES.items(), strict=True):
        summaries = simulate(funclet, options)
        for name, (colour, marker, label) in STYLES.items():
            points = [one for one in summaries if one["strategy"].startswith(f"one-step {name}:")]
            idle = [one["idle_gb_seconds"] / 3600 for one in points]
            axes.plot(idle, [one["cold_percent"] for one in points], marker=marker, color=colour, label=label)
            _label(axes, points, idle, colour)
        axes.set(title=title, xlabel="kept idle, GB-hours in a day", ylabel="cold starts, % of calls", ylim=(0, None))
        axes.legend(frameon=False)
    figure.savefig(folder / "keep-alive.svg", metadata={"Date": None})


def _label(axes: Axes, points: list[dict[str, Any]], idle: list[float], colour: str) -> None:
    """Say the seconds beside each point that does not hide its neighbour's."""
    last = float("-inf")
    for one, x in zip(points, idle, strict=True):
        if x - last > 1.5:
            text = one["strategy"].partition(":")[2]
            axes.annotate(text, (x, one["cold_percent"]), (3, 4), textcoords="offset points", fontsize=7, color=colour)
            last = x


if __name__ == "__main__":
    draw(sys.argv[1], Path(sys.argv[2]))
