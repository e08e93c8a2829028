"""Asynchronous invocation: Lambda's PutFunctionEventInvokeConfig and DeadLetterConfig in camelCase.

https://docs.aws.amazon.com/lambda/latest/api/API_PutFunctionEventInvokeConfig.html
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from funclet.api.meta import ApiModel, rule, rules
from funclet.api.trigger import OWN_SUBJECTS, NatsSubject

DESTINATIONS = ("function", "subject", "sqs_queue_url", "url")
ONE_DESTINATION = "must have exactly one of function, subject, sqsQueueUrl or url"
FunctionName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=192,
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(:(\$LATEST|[a-zA-Z0-9_-]{1,128}))?$",
    ),
]
"""A Function of the same namespace, or a version or an alias of it: `name:3`, `name:live`."""
OTHER_SUBJECT = "must not have wildcards, nor begin with $, _INBOX. or funclet."


class Destination(ApiModel):
    """Where a record of an asynchronous invocation goes: exactly one place."""

    model_config = rules(
        rule(
            # `function` is a reserved word of CEL, which Kubernetes escapes.
            "[has(self.__function__), has(self.subject), has(self.sqsQueueUrl), has(self.url)].exists_one(s, s)",
            f"a destination {ONE_DESTINATION}",
        ),
        rule(
            "!has(self.subject) || !(self.subject.startsWith('$') || self.subject.startsWith('_INBOX.') "
            "|| self.subject.startsWith('funclet.') || self.subject.contains('*') || self.subject.contains('>'))",
            f"a destination's subject {OTHER_SUBJECT}",
        ),
    )

    function: FunctionName | None = Field(
        default=None,
        description="Name of a Function of the same namespace, if wanted with a version or an alias (name:3, "
        "name:live); it is invoked asynchronously with the record.",
    )
    subject: NatsSubject | None = Field(
        default=None, description="A NATS subject. A stream must hold it, so that the record is stored."
    )
    sqs_queue_url: str | None = Field(
        default=None,
        max_length=2048,
        pattern=r"^https?://",
        description="The URL of a queue of SQS, or of what speaks its protocol. Credentials: those of the events "
        "role's own environment, found as every AWS SDK finds them; without any the request is not signed.",
    )
    url: str | None = Field(
        default=None,
        max_length=2048,
        pattern=r"^https?://",
        description="An HTTP endpoint, to which the record is POSTed as JSON; any 2xx answer accepts it.",
    )

    @model_validator(mode="after")
    def _exactly_one_place(self) -> Self:
        given = [name for name in DESTINATIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a destination {ONE_DESTINATION}, not {given}")
        if self.subject is not None and (self.subject.startswith(OWN_SUBJECTS) or {"*", ">"} & set(self.subject)):
            raise ValueError(f"a destination's subject {OTHER_SUBJECT}: {self.subject}")
        return self


class DestinationConfig(ApiModel):
    """Where records of finished asynchronous invocations go."""

    on_success: Destination | None = Field(default=None, description="After the function succeeded.")
    on_failure: Destination | None = Field(
        default=None, description="After the last attempt failed, or the event became too old."
    )


class EventInvokeConfig(ApiModel):
    """How asynchronous invocations (InvocationType Event) are retried and where their records go."""

    maximum_retry_attempts: int = Field(
        default=2,
        ge=0,
        le=2,
        description="How often an event is tried again after the function failed with it, 0 to 2: "
        "one minute after the first attempt, two minutes after the second.",
    )
    maximum_event_age_in_seconds: int = Field(
        default=21600,
        ge=60,
        le=21600,
        description="How old an event may become, in seconds, 60 to 21600 (6 hours), until it is given up: "
        "also while the function is throttled or the platform has no room.",
    )
    destination_config: DestinationConfig = Field(
        default_factory=DestinationConfig, description="Where records of finished invocations go."
    )


class DeadLetterConfig(ApiModel):
    """Where an event goes, as it was, when it was given up. Beside it `funclet dlq` keeps every such event."""

    target: Destination = Field(description="A NATS subject or an SQS queue, as on Lambda, or any other destination.")
