"""Lambda's error objects, in the order of their fields."""

import signal
from typing import Any

from funclet_agent.environment import AGENT_DIRECTORY
from funclet_agent.errors import AgentError

Failure = dict[str, Any]


class InitError(AgentError):
    """The handler cannot be had: every invocation gets this failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure["errorMessage"])
        self.failure = failure


def failure(kind: str, message: str, stack_trace: list[str] | None = None) -> Failure:
    """An error object of the runtime; its requestId is set when it is sent."""
    return {"errorMessage": message, "errorType": kind, "requestId": "", "stackTrace": stack_trace or []}


def exception_failure(error: BaseException) -> Failure:
    """The error object of an exception that the function raised. The agent's own frames are left out."""
    try:
        import traceback
    except (ImportError, OSError):
        # The function has left no descriptor to read it with.
        return failure(type(error).__name__, str(error))
    frames = [
        (frame.filename, frame.lineno or 0, frame.name, frame.line)
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(AGENT_DIRECTORY)
    ]
    return failure(type(error).__name__, str(error), traceback.format_list(frames))


def syntax_failure(module: str, error: SyntaxError) -> Failure:
    """A module that does not compile."""
    place = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
    return failure("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module}': {error}", [place])


def exit_failure(request_id: str, exit_code: int) -> Failure:
    """The handler process ended; `exit_code` is negative for a signal, as of os.waitstatus_to_exitcode."""
    reason = f"Runtime exited with error: {exit_reason(exit_code)}"
    if exit_code == 0:
        reason = "Runtime exited without providing a reason"
    return {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {request_id} Error: {reason}"}


def exit_reason(exit_code: int) -> str:
    """How a process ended, in the words of Go's os/exec, which are Lambda's."""
    return f"exit status {exit_code}" if exit_code >= 0 else f"signal: {_signal_name(-exit_code)}"


def timeout_failure(request_id: str, timeout_seconds: int) -> Failure:
    """The invocation overran its timeout."""
    message = f"RequestId: {request_id} Error: {timeout_message(timeout_seconds)}"
    return {"errorType": "Sandbox.Timedout", "errorMessage": message}


def timeout_message(timeout_seconds: int) -> str:
    """As Lambda says it."""
    return f"Task timed out after {timeout_seconds:.2f} seconds"


def _signal_name(number: int) -> str:
    return (signal.strsignal(number) or f"signal {number}").lower()


def description(failure: Failure) -> str:
    """What the log says of a failure, as awslambdaric prints it."""
    head = f"[ERROR] {failure['errorType']}: {failure['errorMessage']}\n"
    stack = failure["stackTrace"]
    return head + "Traceback (most recent call last):\n" + "".join(stack) if stack else head
