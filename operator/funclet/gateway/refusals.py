"""Requests that are refused before they are understood: counted, and told in the log with the rule that they broke.

Another gateway never sends one: each of these is a fault of ours, or a stranger's. Callers may send any number, so of
each side one a second is told.
"""

import logging

from funclet.adapters.metrics import REQUESTS_REFUSED

log = logging.getLogger(__name__)

GAP_SECONDS = 1.0


class Refusals:
    """Those of one side: `sender` is `caller` or `gateway`."""

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self._level = logging.INFO if sender == "caller" else logging.WARNING
        self._told_at = -GAP_SECONDS

    def note(self, now: float, status: int, rule: str, source: str, answered: int, moves: int) -> None:
        """One more. `answered`: requests before it on its connection, here; `moves`: how often that was handed over."""
        REQUESTS_REFUSED.labels(self._sender, str(status)).inc()
        if now < self._told_at + GAP_SECONDS:
            return
        self._told_at = now
        what = {"sender": self._sender, "source": source, "status": status, "rule": rule}
        log.log(self._level, "request refused", extra={**what, "answered": answered, "moves": moves})
