"""A trace from CSV: `function,timestamp[,duration_ms]`, one call a line, in any order, with a heading."""

import csv
from array import array
from collections.abc import Iterable
from datetime import datetime
from math import isfinite

from funclet.core.simulation import Calls
from funclet.errors import InvalidSpec

COLUMNS = ["function", "timestamp", "duration_ms"]
LONGEST_MS = 900_000.0
"""Lambda's longest timeout."""


def read_trace(lines: Iterable[str], default_duration_ms: float) -> dict[str, Calls]:
    """All calls by function, in order; the first call of all is at 0 s.

    A timestamp is a number of seconds or a time of RFC 3339. Raises InvalidSpec with the line, the field and its value.
    """
    rows = csv.reader(lines)
    _check_heading(next(rows, None))
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row:
            name, timestamp, duration_ms = _read_row(row, rows.line_num, default_duration_ms)
            found.setdefault(name, []).append((timestamp, duration_ms / 1000))
    if not found:
        raise InvalidSpec("the trace has no calls: give at least one line after the heading", field="trace")
    start = min(call[0] for calls in found.values() for call in calls)
    return {name: _in_order(calls, start) for name, calls in found.items()}


def _check_heading(heading: list[str] | None) -> None:
    names = [name.strip() for name in heading or []]
    if names not in (COLUMNS, COLUMNS[:2]):
        message = f"line 1: the heading is {','.join(names)!r}; it must be function,timestamp or {','.join(COLUMNS)}"
        raise InvalidSpec(message, field="heading")


def _read_row(row: list[str], line: int, default_duration_ms: float) -> tuple[str, float, float]:
    if len(row) not in (2, 3):
        message = f"line {line}: {len(row)} fields in {','.join(row)!r}; there must be 2 or 3: {','.join(COLUMNS)}"
        raise InvalidSpec(message, field="line")
    name = row[0].strip()
    if not name:
        raise InvalidSpec(f"line {line}: function is empty; it must be a name", field="function")
    timestamp = _read_timestamp(row[1].strip(), line)
    text = row[2].strip() if len(row) == 3 else ""
    return name, timestamp, _read_duration(text, line) if text else default_duration_ms


def _read_timestamp(text: str, line: int) -> float:
    seconds = _find_number(text)
    if seconds is not None:
        return seconds
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        must = "it must be seconds (12.5) or a time of RFC 3339 with its zone (2024-06-26T10:00:00Z)"
        raise InvalidSpec(f"line {line}: timestamp is {text!r}; {must}", field="timestamp")
    return moment.timestamp()


def _read_duration(text: str, line: int) -> float:
    duration_ms = _find_number(text)
    if duration_ms is None or not 0 <= duration_ms <= LONGEST_MS:
        must = f"it must be milliseconds, 0 to {LONGEST_MS:.0f}"
        raise InvalidSpec(f"line {line}: duration_ms is {text!r}; {must}", field="duration_ms")
    return duration_ms


def _find_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _in_order(calls: list[tuple[float, float]], start: float) -> Calls:
    calls.sort()
    arrivals = array("d", (timestamp - start for timestamp, _ in calls))
    return Calls(arrivals, array("d", (duration for _, duration in calls)))
