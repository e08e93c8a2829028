"""What the management API refuses, under Lambda's names and with its statuses."""

from funclet.core.lambda_api import LambdaError, invalid_parameter
from funclet.errors import FuncletError


class Refusal(FuncletError):
    """A request that is not carried out; whose turn it is says the error's status."""

    def __init__(self, error: LambdaError) -> None:
        super().__init__(error.message, reason=error.error_type)
        self.error = error


def invalid(message: str) -> Refusal:
    """400: what is asked for cannot be. The message names the parameter, its value and what would be right."""
    return Refusal(invalid_parameter(message))


def not_there(parameter: str, why: str) -> Refusal:
    """400 for a parameter of Lambda's that Funclet does not have."""
    return invalid(f"{parameter} is not there in Funclet: {why}.")


def not_found(message: str) -> Refusal:
    """404."""
    return Refusal(LambdaError(404, "ResourceNotFoundException", message))


def conflict(message: str) -> Refusal:
    """409."""
    return Refusal(LambdaError(409, "ResourceConflictException", message, text_member="message"))


def other_revision() -> Refusal:
    """412: somebody has changed it since the caller read it."""
    message = (
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve "
        "the latest Revision Id"
    )
    return Refusal(LambdaError(412, "PreconditionFailedException", message, text_member="message"))


def denied(error_type: str, message: str) -> Refusal:
    """403."""
    return Refusal(LambdaError(403, error_type, message, text_member="message"))
