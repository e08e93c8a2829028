"""AWS's cron expressions: the examples of its documentation, the calendar's corners, and what is refused."""

import itertools
import re
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.core.cron import parse_cron
from funclet.errors import InvalidSpec


def first(expression: str, begin: str, number: int = 3) -> list[str]:
    times = parse_cron(expression).times_from(date.fromisoformat(begin))
    return [time.strftime("%Y-%m-%d %H:%M") for time in itertools.islice(times, number)]


@pytest.mark.parametrize(
    ("expression", "begin", "times"),
    [
        # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
        ("0 10 * * ? *", "2026-11-24", ["2026-11-24 10:00", "2026-11-25 10:00", "2026-11-26 10:00"]),
        ("15 12 * * ? *", "2026-12-31", ["2026-12-31 12:15", "2027-01-01 12:15", "2027-01-02 12:15"]),
        ("0 18 ? * MON-FRI *", "2026-11-27", ["2026-11-27 18:00", "2026-11-30 18:00", "2026-12-01 18:00"]),
        ("0 8 1 * ? *", "2026-11-24", ["2026-12-01 08:00", "2027-01-01 08:00", "2027-02-01 08:00"]),
        ("0/15 * * * ? *", "2026-11-24", ["2026-11-24 00:00", "2026-11-24 00:15", "2026-11-24 00:30"]),
        ("0/10 * ? * MON-FRI *", "2026-11-28", ["2026-11-30 00:00", "2026-11-30 00:10", "2026-11-30 00:20"]),
        ("0/5 8-17 ? * MON-FRI *", "2026-11-24", ["2026-11-24 08:00", "2026-11-24 08:05", "2026-11-24 08:10"]),
        ("0 9 ? * 2#1 *", "2026-11-24", ["2026-12-07 09:00", "2027-01-04 09:00", "2027-02-01 09:00"]),
        ("0 0 L * ? *", "2028-01-31", ["2028-01-31 00:00", "2028-02-29 00:00", "2028-03-31 00:00"]),
        ("15 10 ? * 6L 2022-2023", "2022-11-01", ["2022-11-25 10:15", "2022-12-30 10:15", "2023-01-27 10:15"]),
        # corners of the calendar
        ("0 0 29 2 ? *", "2026-01-01", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
        ("0 0 31 * ? *", "2026-11-24", ["2026-12-31 00:00", "2027-01-31 00:00", "2027-03-31 00:00"]),
        ("0 0 1W * ? *", "2026-08-01", ["2026-08-03 00:00", "2026-09-01 00:00", "2026-10-01 00:00"]),
        ("0 0 15W 8 ? *", "2026-08-01", ["2026-08-14 00:00", "2027-08-16 00:00", "2028-08-15 00:00"]),
        ("0 0 31W JAN,FEB ? *", "2027-01-01", ["2027-01-29 00:00", "2028-01-31 00:00", "2029-01-31 00:00"]),
        ("0 0 ? * L *", "2026-11-24", ["2026-11-28 00:00", "2026-12-05 00:00", "2026-12-12 00:00"]),
        ("0 0 ? * FRI#5 *", "2026-11-01", ["2027-01-29 00:00", "2027-04-30 00:00", "2027-07-30 00:00"]),
        ("5,55/2 23 1 jan ? 2030", "2026-01-01", ["2030-01-01 23:05", "2030-01-01 23:55", "2030-01-01 23:57"]),
    ],
)
def test_an_expression_is_due_when_aws_says(expression: str, begin: str, times: list[str]) -> None:
    assert first(expression, begin) == times


def test_what_lies_in_the_past_is_never_due() -> None:
    assert first("0 0 1 1 ? 1970-2025", "2026-01-01") == []


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("0 10 * * ?", "it has 5 fields, and needs six: minutes, hours, day-of-month, month, day-of-week, year"),
        ("60 10 * * ? *", "60 is no value of minutes: it takes 0 to 59"),
        ("0 24 * * ? *", "24 is no value of hours: it takes 0 to 23"),
        ("0 0 32 * ? *", "32 is no value of day-of-month: it takes 1 to 31"),
        ("0 0 1 13 ? *", "13 is no value of month: it takes 1 to 12 or JAN to DEC"),
        ("0 0 ? * 0 *", "0 is no value of day-of-week: it takes 1 to 7 or SUN to SAT"),
        ("0 0 ? * FRI-MON *", "FRI-MON is no value of day-of-week"),
        ("0 0 ? * MON#6 *", "MON#6 is no value of day-of-week: behind # comes which one of the month, 1 to 5"),
        ("0 0 1 1 ? 2200", "2200 is no value of year: it takes 1970 to 2199"),
        ("0/0 0 1 1 ? *", "0/0 is no value of minutes"),
        ("*-5 0 1 1 ? *", "*-5 is no value of minutes"),
        ("0 0 * * * *", "day-of-month is * and day-of-week is *: exactly one of the two must be ?"),
        ("0 0 ? * ? *", "day-of-month is ? and day-of-week is ?: exactly one of the two must be ?"),
        ("0 0 ٣ * ? *", "٣ is no value of day-of-month"),
        (", 0 1 * ? *", " is no value of minutes"),
    ],
)
def test_a_wrong_field_is_named(expression: str, said: str) -> None:
    with pytest.raises(InvalidSpec, match=re.escape(said)):
        parse_cron(expression)


@given(st.text(alphabet="0123456789*?LW#/,- MONJA", max_size=40))
def test_whatever_is_written_is_understood_or_refused(text: str) -> None:
    try:
        cron = parse_cron(text)
    except InvalidSpec:
        return
    times = list(itertools.islice(cron.times_from(date(2026, 1, 1)), 50))
    assert times == sorted(set(times))


FIELDS = st.tuples(
    st.sampled_from(["*", "0", "7/20", "1,2,50-59"]),
    st.sampled_from(["*", "0/5", "23", "9-17/4"]),
    st.sampled_from(["* ?", "1-7 ?", "? 2-6", "? SUN,WED"]),
    st.sampled_from(["*", "FEB", "3/4"]),
)


@given(FIELDS, st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1)))
def test_it_is_due_in_just_the_minutes_that_all_fields_allow(
    fields: tuple[str, str, str, str], moment: datetime
) -> None:
    minutes, hours, days, months = fields
    month_day, week_day = days.split()
    cron = parse_cron(f"{minutes} {hours} {month_day} {months} {week_day} *")
    day = moment.date()
    due = set(itertools.takewhile(lambda time: time.date() == day, cron.times_from(day)))
    for minute in range(24 * 60):
        time = datetime(day.year, day.month, day.day) + timedelta(minutes=minute)
        assert (time in due) == _allows(minutes, hours, month_day, week_day, months, time)


def _allows(minutes: str, hours: str, month_day: str, week_day: str, months: str, time: datetime) -> bool:
    """By looking each field up in a table."""
    allowed: dict[str, set[int]] = {
        "1,2,50-59": {1, 2, *range(50, 60)},
        "7/20": {7, 27, 47},
        "0/5": {0, 5, 10, 15, 20},
        "9-17/4": {9, 13, 17},
        "1-7": set(range(1, 8)),
        "2-6": {2, 3, 4, 5, 6},
        "SUN,WED": {1, 4},
        "FEB": {2},
        "3/4": {3, 7, 11},
        "0": {0},
        "23": {23},
    }
    values = (minutes, time.minute), (hours, time.hour), (month_day, time.day), (months, time.month)
    weekday = (week_day, time.isoweekday() % 7 + 1)
    return all(text in ("*", "?") or value in allowed[text] for text, value in (*values, weekday))
