"""The settings of the role events."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from funclet.adapters.settings import RoleSettings
from funclet.core.asynchronous import RETRY_SECONDS


def _from_text(given: object) -> object:
    return [part.strip() for part in given.split(",")] if isinstance(given, str) else given


Seconds = Annotated[float, Field(ge=0)]
RetrySeconds = Annotated[tuple[Seconds, Seconds], BeforeValidator(_from_text)]


class EventsSettings(RoleSettings):
    """Read once at the start, from the environment: FUNCLET_ and the upper-case name."""

    internal_token: str
    """What the roles show each other. Required."""
    nats_url: str
    """Where JetStream is. Required."""
    gateway_url: str
    """Base URL of the gateway; all invocations go through it. Required."""
    scaler_url: str
    """Base URL of the scaler, which is told of the backlog. Required."""
    region: str = "us-east-1"
    """The region in the records' ARNs, and of SQS servers whose name does not tell theirs; give the gateway's."""
    stop_seconds: float = Field(default=20.0, ge=0)
    """How long running batches may take to end when the role is stopped. Shorter than a pod's grace period (30 s)."""
    sqs_polls: int = Field(default=1000, ge=1)
    """Long polls that wait at a time. With more sqs Triggers than that they take turns, each for a shorter time."""
    stream_replicas: int = Field(default=1, ge=1, le=5)
    """NATS servers that hold each event, outcome and dead letter: 3 where JetStream is a cluster of three or more."""
    async_retry_seconds: RetrySeconds = RETRY_SECONDS
    """When a failed event is tried again: after the first attempt and after the second. Lambda's are "60,120"."""
    async_result_seconds: int = Field(default=3600, ge=900)
    """How long the result of an asynchronous invocation is known. So long its event does not run a second time."""
    dead_letter_seconds: int = Field(default=14 * 86400, ge=60)
    """How long `funclet dlq` keeps an event that was given up."""
