"""What a benchmark hands back: a figure, its budget, and what was measured beside it in the same run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class Unmeasured(Exception):
    """A figure cannot be measured here; the message says why, and what would be needed."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The limit of a figure, or of its ratio to the first peer. `at_least`: more is better."""

    limit: float
    at_least: bool = False

    def allows(self, value: float) -> bool:
        """Whether a value is within it."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True, slots=True)
class Peer:
    """What was measured for comparison. What cannot be had here is quoted: then `source` says from whom."""

    name: str
    value: float
    source: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `ratio` is its value over the first peer's."""

    name: str
    value: float | None
    unit: str
    budget: Budget | None = None
    peers: Sequence[Peer] = ()
    ratio_budget: Budget | None = None
    why: str = ""
    """Why there is no value; or what has to be known to read it."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the plots and the curious need, as JSON."""

    @property
    def ratio(self) -> float | None:
        """Its value over the first peer's."""
        if self.value is None or not self.peers or not self.peers[0].value:
            return None
        return self.value / self.peers[0].value

    @property
    def is_within(self) -> bool:
        """Whether it was measured and keeps its budgets."""
        if self.value is None or (self.budget is not None and not self.budget.allows(self.value)):
            return False
        ratio = self.ratio
        return self.ratio_budget is None or (ratio is not None and self.ratio_budget.allows(ratio))


class Beside:
    """Gathers what is measured beside a figure. A peer that cannot be had here is left out, and that is said."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.missing: list[str] = []

    def add(self, name: str, measure: Callable[[], float]) -> None:
        """Measure it, if it can be had."""
        try:
            self.peers.append(Peer(name, measure()))
        except Unmeasured as error:
            self.missing.append(f"without {name}: {error}")

    @property
    def why(self) -> str:
        """What is missing, and why."""
        return "; ".join(self.missing)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One file of this folder: a function without arguments, and the figures that it hands back."""

    measure: Callable[[], "Figure | Sequence[Figure]"]
    figures: tuple[str, ...]
    needs_cluster: bool = False
    limit_seconds: int = 120
    """It is ended after so long: its figures count as not measured."""

    @property
    def name(self) -> str:
        """Its file's name."""
        return self.measure.__module__.rpartition(".")[2]


def to_json(figure: Figure) -> dict[str, Any]:
    """One object of build/bench.json."""
    return {
        "name": figure.name,
        "value": figure.value,
        "unit": figure.unit,
        "budget": figure.budget and figure.budget.limit,
        "against": figure.peers[0].name if figure.peers else "",
        "ratio": figure.ratio,
        "within_budget": figure.is_within,
        "at_least": bool(figure.budget and figure.budget.at_least),
        "ratio_budget": figure.ratio_budget and figure.ratio_budget.limit,
        "ratio_at_least": bool(figure.ratio_budget and figure.ratio_budget.at_least),
        "peers": [{"name": peer.name, "value": peer.value, "source": peer.source} for peer in figure.peers],
        "why": figure.why,
        "details": dict(figure.details),
    }


def from_json(found: Mapping[str, Any]) -> Figure:
    """The figure that `to_json` wrote."""
    return Figure(
        found["name"],
        found["value"],
        found["unit"],
        _budget(found["budget"], found["at_least"]),
        [Peer(**peer) for peer in found["peers"]],
        _budget(found["ratio_budget"], found["ratio_at_least"]),
        found["why"],
        found["details"],
    )


def _budget(limit: float | None, at_least: bool) -> Budget | None:
    return None if limit is None else Budget(limit, at_least)
