"""Trigger: what causes invocations of a function. A union of sources, of which each Trigger has exactly one."""

import json
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from funclet.api.batches import BatchSettings
from funclet.api.meta import API_VERSION, ApiModel, Condition, ObjectMeta, StatusModel, rule, rules
from funclet.api.reference import QualifiedReference
from funclet.api.sqs import SqsSource

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "ANY"]

NatsSubject = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\s.]+(\.[^\s.]+)*$")]

OWN_SUBJECTS = ("$", "_INBOX.", "funclet.")
"""Beginnings of subjects that are NATS' own or Funclet's: nobody's function writes there, and no Trigger."""
OTHER_DEAD_LETTERS = "deadLetterSubject must not begin with $, _INBOX. or funclet.: such are NATS' and Funclet's own"


class HttpSource(ApiModel):
    """An HTTP route. The function gets API Gateway's payload format 2.0 and answers by its rules.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """

    path: str = Field(
        min_length=1,
        max_length=1024,
        pattern=r"^/([^{}\s]|\{[A-Za-z_][A-Za-z0-9_]*\+?\})*$",
        description="The path, with parameters in braces that stand for a whole segment: /orders/{id}. "
        "{rest+} as the last segment takes all that follows. Fixed segments win over parameters.",
    )
    methods: list[Method] = Field(
        default=["ANY"],
        min_length=1,
        max_length=8,
        description="HTTP methods; ANY (the default) takes all.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    host: str | None = Field(
        default=None,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        description="Only requests for this host name. Absent: any host.",
    )


class JetStreamSource(BatchSettings):
    """A NATS JetStream stream, consumed as Lambda consumes an SQS queue; records have the shape of SQS records.

    Names and meanings are those of Lambda's event source mapping (CreateEventSourceMapping).
    """

    model_config = rules(
        rule(
            "!has(self.deadLetterSubject) || !(self.deadLetterSubject.startsWith('$') "
            "|| self.deadLetterSubject.startsWith('_INBOX.') || self.deadLetterSubject.startsWith('funclet.'))",
            OTHER_DEAD_LETTERS,
        ),
    )

    stream: str = Field(
        min_length=1, max_length=255, pattern=r"^[^\s.*>/\\]+$", description="Name of the stream. It must exist."
    )
    subject: NatsSubject = Field(
        default=">", description="Which subjects of the stream; * and > as NATS has them. Default: all."
    )
    maximum_concurrency: int | None = Field(
        default=None, ge=1, le=1000, description="The most batches in flight. Absent: as many as the function may have."
    )
    maximum_receives: int = Field(
        default=5, ge=1, le=1000, description="How often a message is delivered before it goes to deadLetterSubject."
    )
    dead_letter_subject: NatsSubject | None = Field(
        default=None,
        description="Where a message goes after maximumReceives deliveries. A stream must hold this subject, and this "
        "Trigger must not read it. "
        "Absent: the message is given up, with a log line and a metric.",
    )

    @model_validator(mode="after")
    def _dead_letters_elsewhere(self) -> Self:
        if self.dead_letter_subject is not None and self.dead_letter_subject.startswith(OWN_SUBJECTS):
            raise ValueError(f"{OTHER_DEAD_LETTERS}, not {self.dead_letter_subject}")
        return self


class ScheduleSource(ApiModel):
    """A schedule; each time that it is due the function is invoked asynchronously.

    Names and meanings are those of Amazon EventBridge Scheduler (CreateSchedule).
    """

    schedule_expression: str = Field(
        min_length=1,
        max_length=256,
        pattern=r"^(cron|rate|at)\(.+\)$",
        description="When: cron(minutes hours day-of-month month day-of-week year), rate(5 minutes), or once: "
        "at(2027-03-28T09:00:00).",
    )
    schedule_expression_timezone: str = Field(
        default="UTC",
        min_length=1,
        max_length=50,
        description="The IANA time zone of cron and at, such as Europe/Berlin. Default: UTC.",
    )
    start_date: datetime | None = Field(
        default=None, description="Not before then (RFC 3339). A rate counts from there."
    )
    end_date: datetime | None = Field(default=None, description="Not after then (RFC 3339).")
    input: str | None = Field(
        default=None,
        max_length=256 * 1024,
        description="The event, as JSON text; <aws.scheduler.scheduled-time>, <aws.scheduler.execution-id> and "
        "<aws.scheduler.schedule-arn> are filled in. Absent: EventBridge Scheduler's own event.",
    )
    maximum_event_age_in_seconds: int = Field(
        default=86400,
        ge=60,
        le=86400,
        description="How late it may be when Funclet or JetStream was away while it was due. "
        "Of several missed times the last one is made up for.",
    )

    @field_validator("input")
    @classmethod
    def _is_json(cls, given: str | None) -> str | None:
        if given is not None:
            try:
                json.loads(given)
            except ValueError as error:
                raise ValueError(f'input must be JSON text, such as {{"name": "World"}}: {error}') from error
        return given


SOURCES = ("http", "jetstream", "sqs", "schedule")


class TriggerSpec(ApiModel):
    """Which function, and exactly one source."""

    model_config = rules(
        rule(
            "[has(self.http), has(self.jetstream), has(self.sqs), has(self.schedule)].exists_one(s, s)",
            f"spec must have exactly one of {', '.join(SOURCES)}",
        ),
    )

    function: QualifiedReference = Field(description="The function to invoke, or one version of it.")
    enabled: bool = Field(default=True, description="False stops the trigger and keeps it.")
    http: HttpSource | None = Field(default=None, description="An HTTP route.")
    jetstream: JetStreamSource | None = Field(default=None, description="A NATS JetStream stream as a queue.")
    sqs: SqsSource | None = Field(default=None, description="An SQS queue.")
    schedule: ScheduleSource | None = Field(default=None, description="A schedule.")

    @model_validator(mode="after")
    def _exactly_one_source(self) -> Self:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"spec must have exactly one of {', '.join(SOURCES)}, not {given}")
        return self


class TriggerStatus(StatusModel):
    """What control found.

    Reasons of the condition Ready: Resolved (True); FunctionNotFound, FunctionNotReady, QualifierNotFound, InvalidSpec,
    RouteConflict, StreamNotFound, DeadLetterLoop, QueueNotFound, AccessDenied, Unreachable, VisibilityTimeoutTooShort,
    SecretNotFound, Disabled (False).
    """

    observed_generation: int = Field(default=0, ge=0, description="The generation that this status speaks of.")
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Ready: whether events reach the function.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


class Trigger(ApiModel):
    """What causes invocations of a function: an HTTP route, a queue, or a schedule."""

    model_config = ConfigDict(extra="ignore")

    api_version: Literal["funclet.dev/v1"] = API_VERSION
    kind: Literal["Trigger"] = "Trigger"
    metadata: ObjectMeta
    spec: TriggerSpec
    status: TriggerStatus = Field(default_factory=TriggerStatus)
