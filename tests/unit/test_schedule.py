"""When schedules are due, in their time zones; what functions are told; what is refused."""

import itertools
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from funclet.api.trigger import ScheduleSource
from funclet.core.schedule import execution_id, parse_schedule, payload, schedule_problem

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = datetime(2026, 11, 24, 17, 7, 30, tzinfo=UTC)


def source(expression: str, **more: Any) -> ScheduleSource:
    return ScheduleSource.model_validate({"scheduleExpression": expression, **more})


def due(given: ScheduleSource, moment: datetime = NOON, since: datetime = NOON, number: int = 3) -> list[str]:
    times = itertools.islice(parse_schedule(given).due_from(moment, since), number)
    return [time.strftime("%Y-%m-%d %H:%M:%S") for time in times]


def test_a_rate_is_due_at_once_and_counts_from_there() -> None:
    assert due(source("rate(5 minutes)")) == ["2026-11-24 12:00:00", "2026-11-24 12:05:00", "2026-11-24 12:10:00"]


def test_a_rate_keeps_its_beat_after_an_absence() -> None:
    assert due(source("rate(1 hour)"), LATER, number=2) == ["2026-11-24 18:00:00", "2026-11-24 19:00:00"]


def test_a_rate_with_a_start_counts_from_that() -> None:
    given = source("rate(7 days)", startDate="2026-11-20T08:30:00Z", endDate="2026-12-04T08:30:00Z")
    assert due(given) == ["2026-11-27 08:30:00", "2026-12-04 08:30:00"]
    assert due(source("rate(1 minute)", startDate="2027-01-01T00:00:00+01:00"), number=1) == ["2026-12-31 23:00:00"]


def test_once_is_once() -> None:
    given = source("at(2026-12-01T09:00:00)", scheduleExpressionTimezone="Europe/Berlin")
    assert due(given) == ["2026-12-01 08:00:00"]
    assert due(given, datetime(2026, 12, 1, 8, 0, 1, tzinfo=UTC)) == []


def test_a_cron_follows_the_clock_of_its_zone() -> None:
    given = source("cron(30 9 * * ? *)", scheduleExpressionTimezone="Asia/Kolkata")
    assert due(given, number=2) == ["2026-11-25 04:00:00", "2026-11-26 04:00:00"]


def test_what_a_day_does_not_have_is_left_out_in_spring() -> None:
    given = source("cron(30 2 * * ? *)", scheduleExpressionTimezone="Europe/Berlin")
    before = datetime(2027, 3, 27, tzinfo=UTC)
    assert due(given, before, before) == ["2027-03-27 01:30:00", "2027-03-29 00:30:00", "2027-03-30 00:30:00"]


def test_what_a_day_has_twice_is_due_once_in_autumn() -> None:
    given = source("cron(30 2 * * ? *)", scheduleExpressionTimezone="Europe/Berlin")
    before = datetime(2027, 10, 30, tzinfo=UTC)
    assert due(given, before, before) == ["2027-10-30 00:30:00", "2027-10-31 00:30:00", "2027-11-01 01:30:00"]


def test_without_input_the_function_gets_the_event_of_eventbridge_scheduler() -> None:
    event = json.loads(payload(source("rate(1 hour)"), "default", "nightly", "us-east-1", "e1", NOON))
    assert event == {
        "version": "0",
        "id": "e1",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "000000000000",
        "time": "2026-11-24T12:00:00Z",
        "region": "us-east-1",
        "resources": ["arn:aws:scheduler:us-east-1:000000000000:schedule/default/nightly"],
        "detail": "{}",
    }


def test_input_is_given_as_it_is_with_the_context_attributes_filled_in() -> None:
    text = '{"at": "<aws.scheduler.scheduled-time>", "id": "<aws.scheduler.execution-id>", "n": 1}'
    given = source("rate(1 hour)", input=text)
    event = json.loads(payload(given, "default", "nightly", "us-east-1", "e1", NOON))
    assert event == {"at": "2026-11-24T12:00:00Z", "id": "e1", "n": 1}


def test_an_execution_has_one_id_whoever_finds_it() -> None:
    assert execution_id("default/a", "u", NOON) == execution_id("default/a", "u", NOON)
    others = {execution_id("default/b", "u", NOON), execution_id("default/a", "v", NOON)}
    assert (
        len(others | {execution_id("default/a", "u", NOON.replace(hour=13)), execution_id("default/a", "u", NOON)}) == 4
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"scheduleExpression": "rate(0 minutes)"},
            "scheduleExpression rate(0 minutes): a rate is a whole number and a",
        ),
        ({"scheduleExpression": "rate(5 weeks)"}, "5 minutes, 1 hour, 7 days"),
        ({"scheduleExpression": "at(tomorrow)"}, "a time is written as 2027-03-28T09:00:00, without a zone"),
        (
            {"scheduleExpression": "cron(0 25 * * ? *)"},
            "scheduleExpression cron(0 25 * * ? *): 25 is no value of hours",
        ),
        ({"scheduleExpression": "rate(1 day)", "scheduleExpressionTimezone": "Mars/Base"}, "Mars/Base is no time zone"),
        ({"scheduleExpression": "rate(1 day)", "scheduleExpressionTimezone": "../etc/passwd"}, "is no time zone"),
        (
            {
                "scheduleExpression": "rate(1 day)",
                "startDate": "2027-01-02T00:00:00Z",
                "endDate": "2027-01-01T00:00:00Z",
            },
            "endDate 2027-01-01 00:00:00+00:00 is before startDate",
        ),
    ],
)
def test_what_is_wrong_is_said(fields: dict[str, str], said: str) -> None:
    assert said in schedule_problem(ScheduleSource.model_validate(fields))


def test_a_right_one_has_no_problem() -> None:
    assert schedule_problem(source("cron(0 12 ? * MON-FRI *)")) == ""
    assert schedule_problem(None) == ""


def test_input_must_be_json() -> None:
    with pytest.raises(ValueError, match="input must be JSON text"):
        source("rate(1 hour)", input="{name: World}")
