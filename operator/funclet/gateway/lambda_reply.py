"""Answers of the Lambda API to invocations."""

from funclet.core.http_event import HttpAnswer
from funclet.core.lambda_api import LambdaError
from funclet.gateway.call import Call, InstanceAnswer

JSON = ("content-type", "application/json")


def error_answer(error: LambdaError, request_id: str) -> HttpAnswer:
    """An error as the AWS clients read it."""
    headers = [JSON, ("x-amzn-RequestId", request_id), ("x-amzn-ErrorType", error.error_type)]
    if error.retry_after_seconds is not None:
        headers.append(("Retry-After", str(error.retry_after_seconds)))
    return HttpAnswer(error.status, headers, error.body())


class LambdaReply:
    """Answers calls as the Lambda API does, with Funclet's own figures beside."""

    def answered(self, call: Call, answer: InstanceAnswer) -> int:
        """200, also when the function failed: the header says so."""
        more = _more(answer) if answer.error or answer.log_result or answer.init_us is not None else ""
        queue_seconds = call.sent_at - call.queued_at
        queue_ms = f"{queue_seconds * 1000:.2f}" if queue_seconds else "0.00"
        head = (
            f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-amzn-RequestId: {call.request_id}\r\n"
            f"X-Amz-Executed-Version: $LATEST\r\n{more}"
            f"X-Funclet-Duration-Ms: {call.duration_us / 1000:.2f}\r\nX-Funclet-Billed-Ms: {call.billed_ms}\r\n"
            f"X-Funclet-Memory-Mib: {call.revision.memory_mib}\r\nX-Funclet-Queue-Ms: {queue_ms}\r\n"
        )
        call.request.client.respond_raw(call.request, head, answer.body)
        return 200

    def streamed(self, call: Call, content_type: str, pieces: list[bytes]) -> bool:
        """Nobody asked for a stream."""
        return False

    def refused(self, call: Call, error: LambdaError) -> int:
        """The error's own status."""
        call.request.client.respond(call.request, error_answer(error, call.request_id))
        return error.status


def _more(answer: InstanceAnswer) -> str:
    """Header lines that most answers do not have."""
    error = f"X-Amz-Function-Error: {answer.error}\r\n" if answer.error else ""
    log = f"X-Amz-Log-Result: {answer.log_result}\r\n" if answer.log_result else ""
    if answer.init_us is None:
        return error + log
    return f"{error}{log}X-Funclet-Init-Ms: {answer.init_us / 1000:.2f}\r\nX-Funclet-Cold-Start: true\r\n"
