"""When a schedule is due, and what its function is told then, as Amazon EventBridge Scheduler has it.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html. Summer time as there: what would be due at a
time that a day does not have is left out, and what a day has twice is due the first time.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from funclet.api.trigger import ScheduleSource
from funclet.core.arn import account_id
from funclet.core.cron import Cron, parse_cron
from funclet.errors import InvalidSpec

UNITS = {"minute": 60, "hour": 3600, "day": 86400}
_EXPRESSION = re.compile(r"(cron|rate|at)\((.*)\)")
_RATE = re.compile(r"([1-9]\d{0,5}) (minute|hour|day)s?")
_AT = "%Y-%m-%dT%H:%M:%S"
EXECUTIONS = uuid.uuid5(uuid.NAMESPACE_URL, "https://funclet.dev/schedules")


@dataclass(frozen=True, slots=True)
class Schedule:
    """An expression, understood; `rule` is a cron, the one time on the clock there, or the seconds of a rate."""

    rule: Cron | datetime | int
    zone: ZoneInfo
    start: datetime | None = None
    end: datetime | None = None

    def due_from(self, moment: datetime, since: datetime) -> Iterator[datetime]:
        """When it is due, at this moment or later. `since`: when it was made or changed.

        A rate without a start is due at once when it is made, and counts from there.
        """
        moment = max(moment, self.start) if self.start else moment
        for due in self._due_from(moment, since):
            if self.end is not None and due > self.end:
                return
            yield due

    def _due_from(self, moment: datetime, since: datetime) -> Iterator[datetime]:
        match self.rule:
            case Cron():
                days = self.rule.times_from(moment.astimezone(self.zone).date())
                yield from (due for due in map(self._in_utc, days) if due is not None and due >= moment)
            case datetime():
                due = self._in_utc(self.rule)
                yield from [due] if due is not None and due >= moment else []
            case int():
                anchor, period = self.start or since, timedelta(seconds=self.rule)
                yield from (anchor + number * period for number in count(max(0, -((anchor - moment) // period))))

    def _in_utc(self, local: datetime) -> datetime | None:
        """None: the clocks were put forward past it. What comes twice is the first one."""
        moment = local.replace(tzinfo=self.zone, fold=0).astimezone(UTC)
        return moment if moment.astimezone(self.zone).replace(tzinfo=None) == local else None


def parse_schedule(source: ScheduleSource) -> Schedule:
    """Raises InvalidSpec, which names the field, what it holds and what would be right."""
    try:
        zone = ZoneInfo(source.schedule_expression_timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidSpec(
            f"scheduleExpressionTimezone {source.schedule_expression_timezone} is no time zone: take a name of the "
            "IANA database, such as Europe/Berlin"
        ) from error
    start, end = _moment(source.start_date), _moment(source.end_date)
    if start is not None and end is not None and end < start:
        raise InvalidSpec(f"endDate {source.end_date} is before startDate {source.start_date}")
    return Schedule(_parse_rule(source.schedule_expression), zone, start, end)


def _moment(date: datetime | None) -> datetime | None:
    """Without a zone it is UTC, as in EventBridge Scheduler."""
    if date is None:
        return None
    return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)


def _parse_rule(expression: str) -> Cron | datetime | int:
    match = _EXPRESSION.fullmatch(expression)
    try:
        if match is None:
            raise InvalidSpec("take cron(…), rate(…) or at(…)")
        kind, text = match.groups()
        return PARSERS[kind](text)
    except InvalidSpec as error:
        raise InvalidSpec(f"scheduleExpression {expression}: {error.message}") from error


def _parse_rate(text: str) -> int:
    match = _RATE.fullmatch(text)
    if match is None:
        raise InvalidSpec("a rate is a whole number and a unit: 5 minutes, 1 hour, 7 days")
    return int(match[1]) * UNITS[match[2]]


def _parse_at(text: str) -> datetime:
    try:
        return datetime.strptime(text, _AT)
    except ValueError as error:
        raise InvalidSpec("a time is written as 2027-03-28T09:00:00, without a zone") from error


PARSERS: dict[str, Callable[[str], Cron | datetime | int]] = {"cron": parse_cron, "rate": _parse_rate, "at": _parse_at}


def schedule_problem(source: ScheduleSource | None) -> str:
    """What is wrong with it; empty when nothing is, or there is none."""
    try:
        if source is not None:
            parse_schedule(source)
    except InvalidSpec as error:
        return f"spec.schedule.{error.message}"
    return ""


def execution_id(trigger: str, uid: str, due: datetime) -> str:
    """The request id of an execution: the same, whoever finds that it is due, and how often."""
    return str(uuid.uuid5(EXECUTIONS, f"{trigger}/{uid}/{_iso(due)}"))


def payload(source: ScheduleSource, namespace: str, name: str, region: str, execution: str, due: datetime) -> bytes:
    """What the function gets: `input` with the context attributes filled in, or EventBridge Scheduler's own event.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    """
    arn = f"arn:aws:scheduler:{region}:{account_id(namespace)}:schedule/{namespace}/{name}"
    if source.input is None:
        event = {
            "version": "0",
            "id": execution,
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": account_id(namespace),
            "time": _iso(due),
            "region": region,
            "resources": [arn],
            "detail": "{}",
        }
        return json.dumps(event).encode()
    attributes = {"schedule-arn": arn, "scheduled-time": _iso(due), "execution-id": execution, "attempt-number": "1"}
    text = source.input
    for attribute, value in attributes.items():
        text = text.replace(f"<aws.scheduler.{attribute}>", value)
    return text.encode()


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
