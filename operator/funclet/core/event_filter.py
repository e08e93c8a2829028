"""Which records of an event source reach the function: filterCriteria, as Lambda has them.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html and
https://docs.aws.amazon.com/lambda/latest/dg/with-sqs-filtering.html. A pattern is JSON of the record's shape, with
lists of what a value may be at its leaves. All fields of a pattern must match, one entry of each list, and one of the
patterns.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import eq, ge, gt, le, lt
from typing import Any

from funclet.api.batches import BatchSettings
from funclet.errors import InvalidSpec

Pattern = Mapping[str, Any]
Test = Callable[[Any], bool]
OR = "$or"
COMPARISONS: dict[str, Callable[[float, float], bool]] = {"=": eq, "<": lt, "<=": le, ">": gt, ">=": ge}
OPERATORS = "prefix, suffix, equals-ignore-case, anything-but, numeric, exists"


class _Absent:
    """What a field holds that is not there, or is an empty list."""


ABSENT = _Absent()


@dataclass(frozen=True, slots=True)
class EventFilter:
    """The patterns of one Trigger, as their texts; none: all pass. Raises InvalidSpec, which names the pattern."""

    texts: tuple[str, ...] = ()
    _patterns: list[Pattern] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        patterns = [_parse(text, f"filters[{number}].pattern") for number, text in enumerate(self.texts)]
        object.__setattr__(self, "_patterns", patterns)

    def __bool__(self) -> bool:
        return bool(self.texts)

    def allows(self, record: Mapping[str, Any]) -> bool:
        """Whether a record in SQS's shape reaches the function.

        A pattern that speaks of the body's fields is for bodies that are JSON, one that lists texts for the others.
        """
        body = _parse_body(record["body"])
        return not self.texts or any(_allows(pattern, record, body) for pattern in self._patterns)


def filter_of(source: BatchSettings) -> EventFilter:
    """A source's filter. Raises InvalidSpec."""
    criteria = source.filter_criteria
    return EventFilter(tuple(each.pattern for each in criteria.filters) if criteria else ())


def filter_problem(source: BatchSettings | None, name: str) -> str:
    """What is wrong with the filter of the source of this name; empty when nothing is."""
    try:
        if source is not None:
            filter_of(source)
    except InvalidSpec as error:
        return f"spec.{name}.filterCriteria.{error.message}"
    return ""


def _parse_body(text: str) -> Any:
    """An object or list of JSON; ABSENT: it is a text."""
    if text.lstrip()[:1] not in ("{", "["):
        return ABSENT
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return ABSENT


def _allows(pattern: Pattern, record: Mapping[str, Any], body: Any) -> bool:
    wanted = pattern.get("body")
    if wanted is None:
        return matches(pattern, record)
    if isinstance(wanted, dict) == (body is ABSENT):
        return False
    return matches(pattern, record if body is ABSENT else {**record, "body": body})


def matches(pattern: Pattern, event: Any) -> bool:
    """Whether an object has all that a pattern wants; of a list of objects, whether one has."""
    if isinstance(event, list):
        return any(matches(pattern, element) for element in event if isinstance(element, dict))
    fields = event if isinstance(event, dict) else {}
    return all(_field_matches(name, wanted, fields) for name, wanted in pattern.items())


def _field_matches(name: str, wanted: Any, fields: Mapping[str, Any]) -> bool:
    if name == OR:
        return any(matches(pattern, fields) for pattern in wanted)
    value = fields.get(name, ABSENT)
    if isinstance(wanted, dict):
        return matches(wanted, value)
    values = (value or [ABSENT]) if isinstance(value, list) else [value]
    return any(_test(entry)(each) for entry in wanted for each in values)


def _test(entry: Any) -> Test:
    """What one entry of a leaf's list wants of a value."""
    if not isinstance(entry, dict):
        return lambda value: _same(value, entry)
    [(operator, operand)] = entry.items()
    return OPERATIONS[operator](operand)


def _same(value: Any, wanted: Any) -> bool:
    """JSON's equality: true is no 1."""
    return (type(value) is type(wanted) and bool(value == wanted)) or (
        _is_number(value) and _is_number(wanted) and value == wanted
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _exists(wanted: bool) -> Test:
    return lambda value: (value is not ABSENT) == wanted


def _text(compare: Callable[[str, str], bool]) -> Callable[[str], Test]:
    return lambda wanted: lambda value: isinstance(value, str) and compare(value, wanted)


def _numeric(parts: Sequence[Any]) -> Test:
    limits = [(COMPARISONS[parts[at]], parts[at + 1]) for at in range(0, len(parts), 2)]
    return lambda value: _is_number(value) and all(compare(value, limit) for compare, limit in limits)


def _anything_but(unwanted: Any) -> Test:
    tests = [_test(each) for each in (unwanted if isinstance(unwanted, list) else [unwanted])]
    return lambda value: value is not ABSENT and not any(test(value) for test in tests)


OPERATIONS: dict[str, Callable[[Any], Test]] = {
    "prefix": _text(str.startswith),
    "suffix": _text(str.endswith),
    "equals-ignore-case": _text(lambda value, wanted: value.casefold() == wanted.casefold()),
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
}


def _parse(text: str, place: str) -> Pattern:
    """Raises InvalidSpec, which says where it is wrong and what would be right."""
    try:
        pattern = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidSpec(f"{place} is no JSON: {error}") from error
    _check(pattern, place)
    parsed: Pattern = pattern
    return parsed


def _check(pattern: Any, place: str) -> None:
    if not isinstance(pattern, dict) or not pattern:
        raise InvalidSpec(f"{place} is {json.dumps(pattern)}: it must be an object with fields to look at")
    for name, wanted in pattern.items():
        where = f"{place}.{name}"
        if name == OR:
            _check_alternatives(wanted, where)
        elif isinstance(wanted, dict):
            _check(wanted, where)
        elif isinstance(wanted, list) and wanted:
            for entry in wanted:
                _check_entry(entry, where)
        else:
            raise InvalidSpec(f'{where} is {json.dumps(wanted)}: it must be a list of values, such as ["new"]')


def _check_alternatives(wanted: Any, where: str) -> None:
    if not isinstance(wanted, list) or len(wanted) < 2:
        raise InvalidSpec(f"{where} must be a list of two or more objects")
    for alternative in wanted:
        _check(alternative, where)


def _check_entry(entry: Any, where: str) -> None:
    if not isinstance(entry, dict):
        if isinstance(entry, list):
            raise InvalidSpec(f"{where} holds a list in a list: write its values side by side")
        return
    if len(entry) != 1 or next(iter(entry)) not in OPERATIONS:
        raise InvalidSpec(f"{where} holds {json.dumps(entry)}: take one of {OPERATORS}")
    [(operator, operand)] = entry.items()
    if not _is_operand(operator, operand):
        raise InvalidSpec(f"{where} holds {json.dumps(entry)}: {EXPLANATIONS[operator]}")


def _is_operand(operator: str, operand: Any) -> bool:
    match operator:
        case "exists":
            return isinstance(operand, bool)
        case "numeric":
            return _is_range(operand)
        case "anything-but":
            values = operand if isinstance(operand, list) else [operand]
            return bool(values) and all(
                isinstance(each, str) or _is_number(each) or _is_text_test(each) for each in values
            )
        case _:
            return isinstance(operand, str)


def _is_text_test(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and len(entry) == 1
        and all(
            name in ("prefix", "suffix", "equals-ignore-case") and isinstance(value, str)
            for name, value in entry.items()
        )
    )


def _is_range(parts: Any) -> bool:
    """One comparison with a number, or two."""
    if not isinstance(parts, list) or len(parts) not in (2, 4):
        return False
    return all(part in COMPARISONS for part in parts[::2] if isinstance(part, str)) and all(
        isinstance(sign, str) and _is_number(limit) for sign, limit in zip(parts[::2], parts[1::2], strict=True)
    )


_TEXT = "behind it comes a text"
EXPLANATIONS = {
    "exists": "behind it comes true or false",
    "numeric": 'behind it comes a list of one or two comparisons, such as [">", 0, "<=", 100]',
    "anything-but": "behind it come texts, numbers, or an object with prefix, suffix or equals-ignore-case",
    "prefix": _TEXT,
    "suffix": _TEXT,
    "equals-ignore-case": _TEXT,
}
