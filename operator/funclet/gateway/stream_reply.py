"""Answers of InvokeWithResponseStream: events as the function's answer comes, the last one says how it ended."""

import json

from funclet.core.event_stream import CONTENT_TYPE, invoke_complete, payload_chunk
from funclet.core.lambda_api import LambdaError
from funclet.core.qualifiers import version_of
from funclet.gateway.call import Call, InstanceAnswer
from funclet.gateway.lambda_reply import error_answer

PLAIN_TYPE = "application/json"
"""Of an answer that came whole."""


class StreamReply:
    """For callers who read a stream, whether or not the function gives one."""

    def streamed(self, call: Call, content_type: str, pieces: list[bytes]) -> bool:
        """An event for each piece."""
        client = call.request.client
        if not call.stream_begun:
            call.stream_begun = True
            if not client.begin_stream(call.request, _head(call, content_type)):
                return False
        return client.write_piece(call.request, b"".join(map(payload_chunk, pieces)))

    def answered(self, call: Call, answer: InstanceAnswer) -> int:
        """The last event; before it the whole answer, if it came whole."""
        code, details = _read_error(answer)
        end = invoke_complete(code, details, answer.log_result)
        client = call.request.client
        if call.stream_begun:
            client.end_stream(call.request, end)
            return 200
        chunk = payload_chunk(answer.body) if answer.body and not answer.error else b""
        figures = b"X-Funclet-Duration-Ms: %.2f\r\nX-Funclet-Billed-Ms: %d\r\n" % (
            call.duration_us / 1000,
            call.billed_ms,
        )
        client.respond_raw(call.request, _head(call, PLAIN_TYPE) + figures, chunk + end)
        return 200

    def refused(self, call: Call, error: LambdaError) -> int:
        """Nothing has begun: the error's own status, as for Invoke."""
        call.request.client.respond(call.request, error_answer(error, call.request_id))
        return error.status


def _head(call: Call, content_type: str) -> bytes:
    return (
        f"HTTP/1.1 200 OK\r\ncontent-type: {CONTENT_TYPE}\r\nx-amzn-RequestId: {call.request_id}\r\n"
        f"X-Amz-Executed-Version: {version_of(call.served.key)}\r\nX-Amzn-Remapped-Content-Type: {content_type}\r\n"
    ).encode()


def _read_error(answer: InstanceAnswer) -> tuple[str | None, str | None]:
    """ErrorCode and ErrorDetails: the error's type, and Lambda's error object as text."""
    if answer.error is None:
        return None, None
    details = answer.body.decode(errors="replace")
    try:
        error = json.loads(details)
    except ValueError:
        error = None
    code = error.get("errorType") if isinstance(error, dict) else None
    return (code if isinstance(code, str) and code else answer.error), details
