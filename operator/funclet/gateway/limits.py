"""The bounds of what callers and instances may send, and of how long they may take. Tests give smaller ones."""

from dataclasses import dataclass

from funclet.core.lambda_api import BODY_LIMIT_BYTES

KIB = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Every byte, count and second of a caller's connection, and how long an instance is waited for."""

    head_bytes: int = 64 * KIB
    """Of the request line and all headers."""
    headers: int = 256
    body_bytes: int = BODY_LIMIT_BYTES
    framing_bytes: int = BODY_LIMIT_BYTES
    """What chunk sizes, chunk extensions and trailers may take beside the body."""
    pipelined: int = 64
    """Requests that may wait on one connection for their turn; after these the connection ends."""
    head_seconds: float = 30
    """From a request's first byte (on a new connection: from its start) to the end of its headers."""
    body_gap_seconds: float = 30
    """Between two pieces of a body."""
    body_seconds: float = 300
    """From the end of the headers to the end of the body: 6 MiB at 20 KiB a second."""
    read_seconds: float = 30
    """So long a caller may take for each `read_bytes` of its answer."""
    read_bytes: int = 64 * KIB
    idle_seconds: float = 600
    """Without a request."""
    first_seconds: float = 1
    """While the gateway stops: for the first byte on a connection that has been opened before."""
    linger_seconds: float = 2
    """After a refusal the rest of the request is read and dropped for so long: a reset would destroy the answer."""
    small_bytes: int = 64 * KIB
    """Bodies up to this size are not counted in the gateway's budget of bytes."""
    guard_seconds: float = 15
    """Beyond the function's timeout, which the instance enforces: 10 s for the init phase (Lambda's limit), 5 s for all
    else. An instance that has not even answered then has failed."""
