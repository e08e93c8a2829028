"""A runtime's streamed answer on its way to the caller: pieces go on as they come, no faster than they are taken."""

from funclet_agent.http_server import Exchange
from funclet_agent.streaming import BYTES_TYPE, MAX_STREAM_BYTES

UNSENT_BYTES = 256 * 1024
"""So much may wait for the caller; then the runtime waits."""


class Relay:
    """From the runtime's request to the caller's answer, which `Exchange.respond` ends."""

    def __init__(self, source: Exchange, target: Exchange) -> None:
        self._source = source
        self._target = target
        self._total = 0
        self._content_type = source.head.headers.get(b"content-type") or BYTES_TYPE

    def begin(self) -> None:
        """Take what comes from now on, unless another answer has begun."""
        if not self._target.streaming:
            self._source.sink = self._pass_on

    def _pass_on(self, piece: bytes) -> None:
        self._total += len(piece)
        if self._total > MAX_STREAM_BYTES:
            self._source.too_long = True
        elif self._target.send_piece(self._content_type, piece) > UNSENT_BYTES:
            self._source.pause()
            self._target.when_drained(self._source.resume)
