"""Conditions: what is so, why, and since when (Kubernetes API conventions, "Typical status properties")."""

from collections.abc import Sequence
from dataclasses import dataclass

from funclet.api.meta import Condition

READY = "Ready"

MESSAGE_LIMIT = 1024
"""People read conditions; whatever is longer helps nobody."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a condition is to say: whether it holds, the CamelCase reason and a sentence."""

    holds: bool
    reason: str
    message: str = ""


def settle(previous: Sequence[Condition], kind: str, finding: Finding, *, generation: int, now: str) -> list[Condition]:
    """The conditions with this finding in the place of its kind; the time changes with the status alone."""
    status = "True" if finding.holds else "False"
    before = find(previous, kind)
    settled = Condition(
        type=kind,
        status="True" if finding.holds else "False",
        reason=finding.reason,
        message=finding.message[:MESSAGE_LIMIT],
        last_transition_time=before.last_transition_time if before and before.status == status else now,
        observed_generation=generation,
    )
    return [*(condition for condition in previous if condition.type != kind), settled]


def find(conditions: Sequence[Condition], kind: str) -> Condition | None:
    """The condition of this kind."""
    return next((condition for condition in conditions if condition.type == kind), None)


def holds(conditions: Sequence[Condition], kind: str = READY) -> bool:
    """Whether the condition of this kind is there and True."""
    condition = find(conditions, kind)
    return condition is not None and condition.status == "True"
