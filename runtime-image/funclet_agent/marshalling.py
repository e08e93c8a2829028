"""Event and answer: JSON as awslambdaric reads and writes it."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from funclet_agent.errors import AgentError
from funclet_agent.failures import Failure, failure

MAX_ANSWER_BYTES = 6291556
"""Lambda's limit on a synchronous answer."""


class MarshalError(AgentError):
    """The event or the answer is not JSON."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure["errorMessage"])
        self.failure = failure


def _plain(value: Any) -> Any:
    """Decimals become numbers, as awslambdaric does; known by name, since importing decimal takes a millisecond."""
    if type(value).__name__ == "Decimal":
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_ancestors: dict[int, object] = {}
"""Of the value that is being encoded; empty between two answers."""


def _build_encoder() -> Callable[[Any, int], Iterable[str]]:
    """The pieces of JSONEncoder(ensure_ascii=False, default=_plain), which builds a C encoder each time: a µs."""
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        encoder = json.JSONEncoder(ensure_ascii=False, default=_plain)
        return lambda value, _: encoder.iterencode(value)
    chunks: Callable[[Any, int], Iterable[str]] = make(
        _ancestors, _plain, json.encoder.encode_basestring, None, ": ", ", ", False, False, True
    )
    return chunks


_encode = _build_encoder()
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def read_event(body: bytes) -> Any:
    """The event; an empty payload is an empty object.

    A JSON text without space around it takes one call of the scanner, a microsecond less than json.loads needs.
    """
    if not body:
        return {}
    try:
        text = body.decode()
        event, end = _scan(text, 0)
        return event if end == len(text) else json.loads(text)
    except StopIteration:
        return _read_slowly(body)
    except ValueError as error:
        raise _unreadable(error) from error


def _read_slowly(body: bytes) -> Any:
    """With space in front, or not JSON, which gives the message."""
    try:
        return json.loads(body)
    except ValueError as error:
        raise _unreadable(error) from error


def _unreadable(error: ValueError) -> MarshalError:
    return MarshalError(failure("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}"))


def write_answer(answer: Any) -> bytes:
    """The answer's body. A str subclass, a recursion or a lone surrogate fail like any other value that is not JSON."""
    try:
        body = "".join(_encode(answer, 0)).encode()
    except BaseException as error:
        # What it was amid of would look like a circle the next time.
        _ancestors.clear()
        if not isinstance(error, TypeError | ValueError | RecursionError):
            raise
        raise MarshalError(failure("Runtime.MarshalError", f"Unable to marshal response: {error}")) from error
    if len(body) > MAX_ANSWER_BYTES:
        message = f"Response payload size exceeded maximum allowed payload size ({MAX_ANSWER_BYTES} bytes)."
        raise MarshalError(failure("Function.ResponseSizeTooLarge", message))
    return body
