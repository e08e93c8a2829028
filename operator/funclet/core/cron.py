"""AWS's cron expressions: minutes, hours, day of month, month, day of week, year.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based: `,` lists, `-` spans, `/` steps,
`*` is all, and `?` (one of the two fields of days must be it) what the other one says; `L` is the last day of the
month, or as `5L` the last Thursday; `15W` the weekday nearest to the 15th, within the month; `3#2` the second Tuesday.
SUN is 1.
"""

import calendar
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

from funclet.errors import InvalidSpec

MONTHS = {
    name: number
    for number, name in enumerate(
        ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), 1
    )
}
WEEKDAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_PART = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d{1,4}))?")

Days = Callable[[int, int], set[int]]
"""The days of a year's month that a field of days means."""


@dataclass(frozen=True, slots=True)
class Field:
    """What one of the six may hold."""

    name: str
    lowest: int
    highest: int
    names: dict[str, int]

    def read(self, text: str) -> frozenset[int]:
        """The numbers that it means. Raises InvalidSpec."""
        return frozenset(number for part in text.split(",") for number in self._read_part(part))

    def _read_part(self, part: str) -> range:
        match = _PART.fullmatch(part)
        if match is None or (match["first"] == "*" and match["last"]):
            raise self.refuse(part)
        step = int(match["step"] or 1)
        if match["first"] == "*":
            first, last = self.lowest, self.highest
        else:
            first = self.number(match["first"])
            last = self.number(match["last"]) if match["last"] else self.highest if match["step"] else first
        if last < first or step < 1:
            raise self.refuse(part)
        return range(first, last + 1, step)

    def number(self, text: str) -> int:
        """One value, by its number or name. Raises InvalidSpec."""
        number = self.names.get(text) or (int(text) if text.isdecimal() and text.isascii() and len(text) <= 4 else -1)
        if not self.lowest <= number <= self.highest:
            raise self.refuse(text)
        return number

    def refuse(self, given: str) -> InvalidSpec:
        """What is wrong with it."""
        names = f" or {next(iter(self.names))} to {list(self.names)[-1]}" if self.names else ""
        return InvalidSpec(
            f"{given} is no value of {self.name}: it takes {self.lowest} to {self.highest}{names}, lists (,), spans "
            "(-, from the smaller to the larger) and steps (/)"
        )


MINUTES = Field("minutes", 0, 59, {})
HOURS = Field("hours", 0, 23, {})
DAY_OF_MONTH = Field("day-of-month", 1, 31, {})
MONTH = Field("month", 1, 12, MONTHS)
DAY_OF_WEEK = Field("day-of-week", 1, 7, WEEKDAYS)
YEAR = Field("year", 1970, 2199, {})


@dataclass(frozen=True, slots=True)
class Cron:
    """One expression, understood."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: Days
    months: tuple[int, ...]
    years: tuple[int, ...]

    def days_from(self, first: date) -> Iterator[date]:
        """The days on which it is due, from this one on."""
        for year in self.years:
            if year < first.year:
                continue
            for month in self.months:
                if (year, month) < (first.year, first.month):
                    continue
                days = (date(year, month, day) for day in sorted(self.days(year, month)))
                yield from (day for day in days if day >= first)

    def times_from(self, first: date) -> Iterator[datetime]:
        """When it is due on a clock that is never put forward or back, from the beginning of this day on."""
        for day in self.days_from(first):
            for hour in self.hours:
                for minute in self.minutes:
                    yield datetime(day.year, day.month, day.day, hour, minute)


def parse_cron(text: str) -> Cron:
    """The six fields, between blanks. Raises InvalidSpec, which names the field."""
    fields = text.upper().split()
    if len(fields) != 6:
        names = ", ".join(field.name for field in (MINUTES, HOURS, DAY_OF_MONTH, MONTH, DAY_OF_WEEK, YEAR))
        raise InvalidSpec(f"it has {len(fields)} fields, and needs six: {names}")
    minutes, hours, month_day, month, week_day, year = fields
    return Cron(
        minutes=_sorted(MINUTES, minutes),
        hours=_sorted(HOURS, hours),
        days=_days(month_day, week_day),
        months=_sorted(MONTH, month),
        years=_sorted(YEAR, year),
    )


def _sorted(field: Field, text: str) -> tuple[int, ...]:
    return tuple(sorted(field.read(text)))


def _days(month_day: str, week_day: str) -> Days:
    if (month_day == "?") == (week_day == "?"):
        raise InvalidSpec(
            f"day-of-month is {month_day} and day-of-week is {week_day}: exactly one of the two must be ?, since the "
            "other one says the days"
        )
    return _days_of_month(month_day) if week_day == "?" else _days_of_week(week_day)


def _days_of_month(text: str) -> Days:
    if text == "L":
        return lambda year, month: {calendar.monthrange(year, month)[1]}
    if text.endswith("W"):
        wanted = DAY_OF_MONTH.number(text[:-1])
        return lambda year, month: _nearest_weekday(year, month, wanted)
    numbers = DAY_OF_MONTH.read(text)
    return lambda year, month: {day for day in numbers if day <= calendar.monthrange(year, month)[1]}


def _nearest_weekday(year: int, month: int, wanted: int) -> set[int]:
    """Monday to Friday; not in another month. A month without this day has none."""
    last = calendar.monthrange(year, month)[1]
    if wanted > last:
        return set()
    weekday = calendar.weekday(year, month, wanted)
    if weekday == calendar.SATURDAY:
        return {wanted - 1 if wanted > 1 else wanted + 2}
    if weekday == calendar.SUNDAY:
        return {wanted + 1 if wanted < last else wanted - 2}
    return {wanted}


def _days_of_week(text: str) -> Days:
    if "#" in text:
        weekday, _, place = text.partition("#")
        if place not in ("1", "2", "3", "4", "5"):
            raise InvalidSpec(f"{text} is no value of day-of-week: behind # comes which one of the month, 1 to 5")
        number, index = DAY_OF_WEEK.number(weekday), int(place) - 1
        return lambda year, month: set(_weekdays(year, month, {number})[index : index + 1])
    if text == "L":
        return lambda year, month: set(_weekdays(year, month, {WEEKDAYS["SAT"]}))
    if text.endswith("L"):
        number = DAY_OF_WEEK.number(text[:-1])
        return lambda year, month: set(_weekdays(year, month, {number})[-1:])
    numbers = DAY_OF_WEEK.read(text)
    return lambda year, month: set(_weekdays(year, month, numbers))


def _weekdays(year: int, month: int, wanted: set[int] | frozenset[int]) -> list[int]:
    """The days of a month on these weekdays; SUN is 1."""
    first, last = calendar.monthrange(year, month)  # Monday is 0
    return [day for day in range(1, last + 1) if (first + day) % 7 + 1 in wanted]
