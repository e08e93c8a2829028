"""An SQS queue as the source of a Trigger: the queue, how to get there, and Lambda's settings of the mapping."""

from typing import Self

from pydantic import Field, model_validator

from funclet.api.batches import BatchSettings
from funclet.api.meta import ApiModel, rule, rules

ONE_QUEUE = "sqs must have exactly one of queueUrl and queueArn"
WINDOW_FOR_LARGE = "a batchSize above 10 needs a maximumBatchingWindowInSeconds of 1 or more"
FIFO_BATCHES = "a FIFO queue takes a batchSize of at most 10 and no maximumBatchingWindowInSeconds"


class SecretReference(ApiModel):
    """A Secret of the same namespace."""

    name: str = Field(
        min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", description="Name of the Secret."
    )


class ScalingConfig(ApiModel):
    """Lambda's ScalingConfig."""

    maximum_concurrency: int | None = Field(
        default=None,
        ge=2,
        le=1000,
        description="The most batches in flight, 2 to 1000. Absent: as many as the function may have.",
    )


class SqsSource(BatchSettings):
    """A queue of Amazon SQS, or of a server that speaks its protocol, consumed as Lambda consumes it.

    https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
    """

    model_config = rules(
        rule("has(self.queueUrl) != has(self.queueArn)", ONE_QUEUE),
        rule("self.batchSize <= 10 || self.maximumBatchingWindowInSeconds >= 1", WINDOW_FOR_LARGE),
        rule(
            "!((has(self.queueUrl) && self.queueUrl.endsWith('.fifo')) "
            "|| (has(self.queueArn) && self.queueArn.endsWith('.fifo'))) "
            "|| (self.batchSize <= 10 && self.maximumBatchingWindowInSeconds == 0)",
            FIFO_BATCHES,
        ),
    )

    queue_url: str | None = Field(
        default=None,
        max_length=2048,
        pattern=r"^https?://[^/\s?#]+/[^\s?#]*[^/\s?#]$",
        description="The URL of the queue, such as https://sqs.eu-central-1.amazonaws.com/123456789012/orders.",
    )
    queue_arn: str | None = Field(
        default=None,
        max_length=256,
        pattern=r"^arn:aws[a-z-]*:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,80}(\.fifo)?$",
        description="The ARN of the queue, instead of its URL.",
    )
    endpoint_url: str | None = Field(
        default=None,
        max_length=2048,
        pattern=r"^https?://[^/\s?#]+/?$",
        description="The server to ask, such as http://elasticmq.queues:9324. "
        "Absent: the one in queueUrl, or that of Amazon SQS in the queue's region.",
    )
    region: str | None = Field(
        default=None,
        max_length=32,
        pattern=r"^[a-z0-9-]+$",
        description="The region for which requests are signed. Absent: the one in queueArn or in the server's name, or "
        "the installation's.",
    )
    credentials_secret: SecretReference | None = Field(
        default=None,
        description="A Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN if need "
        "be. Absent: the credentials of the roles' own environment, found as every AWS SDK finds them; without any, "
        "requests are not signed.",
    )
    scaling_config: ScalingConfig = Field(default_factory=ScalingConfig, description="Limits of the Trigger's own.")

    @model_validator(mode="after")
    def _as_lambda_has_it(self) -> Self:
        if (self.queue_url is None) == (self.queue_arn is None):
            raise ValueError(ONE_QUEUE)
        large, window = self.batch_size > 10, self.maximum_batching_window_in_seconds
        if self.is_fifo and (large or window):
            raise ValueError(f"{FIFO_BATCHES}, not {self.batch_size} and {window}")
        if large and window < 1:
            raise ValueError(f"{WINDOW_FOR_LARGE}, not {window} with {self.batch_size}")
        return self

    @property
    def is_fifo(self) -> bool:
        """Whether the queue keeps the order of its messages, which its name says."""
        return (self.queue_url or self.queue_arn or "").endswith(".fifo")
