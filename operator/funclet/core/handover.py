"""When a caller's connection goes over to another process of the machine, the home of the functions that it calls.

Passing calls on costs something each time; handing the connection over costs about as much as passing on two, once, and
from then on nothing. What a caller will call next nobody knows, so the past decides:

1. A connection goes over once `PATIENCE` calls in a row had the same sibling as their home. Then passing on has cost as
   much as the handover will: whatever follows, both together are at most twice what was needed (ski rental).
2. A call that is at home here breaks the row. One that is at home on another machine neither lengthens nor breaks it:
   it is passed on from wherever the connection is.
3. Each move of a connection doubles the patience with it, up to `MOST_PATIENCE`: one whose calls go now here, now
   there, is passed on ever longer before it is handed over again.
"""

from dataclasses import dataclass

PATIENCE = 2
MOST_PATIENCE = 1024


@dataclass(frozen=True, slots=True)
class Row:
    """Calls in a row on one connection that had this sibling as their home."""

    home: str = ""
    calls: int = 0


NO_ROW = Row()


def lengthen(row: Row, home: str) -> Row:
    """The row after one more call with this home."""
    return Row(home, row.calls + 1 if home == row.home else 1)


def is_due(row: Row, moves: int) -> bool:
    """Whether to hand the connection over to the row's home. `moves`: how often it was handed over before."""
    return row.calls >= min(PATIENCE << min(moves, MOST_PATIENCE), MOST_PATIENCE)
