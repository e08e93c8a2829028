"""What event sources that are queues have in common: how their records are gathered, filtered and answered for.

Names and meanings are those of Lambda's event source mapping (CreateEventSourceMapping).
"""

from typing import Literal

from pydantic import Field

from funclet.api.meta import ApiModel


class Filter(ApiModel):
    """One pattern of filterCriteria."""

    pattern: str = Field(
        min_length=1,
        max_length=4096,
        description="""JSON of the record's shape, with lists of what a value may be: '{"body": {"kind": ["new"]}}'.""",
    )


class FilterCriteria(ApiModel):
    """Which records reach the function: those that match one of the patterns; the others are done with.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html
    """

    filters: list[Filter] = Field(min_length=1, max_length=5, description="The patterns.")


class BatchSettings(ApiModel):
    """How a queue's messages become events."""

    batch_size: int = Field(default=10, ge=1, le=10000, description="The most messages in one invocation.")
    maximum_batching_window_in_seconds: int = Field(
        default=0, ge=0, le=300, description="How long to gather messages before invoking, in seconds."
    )
    function_response_types: list[Literal["ReportBatchItemFailures"]] = Field(
        default_factory=list,
        max_length=1,
        description="ReportBatchItemFailures: the answer's batchItemFailures name the messages to deliver again.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    filter_criteria: FilterCriteria | None = Field(
        default=None, description="Which messages reach the function. Absent: all. The others are acknowledged."
    )

    @property
    def reports_failures(self) -> bool:
        """Whether the function's answer names the messages that failed."""
        return "ReportBatchItemFailures" in self.function_response_types
