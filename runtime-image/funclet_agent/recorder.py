"""What is told of a runtime's invocations: lines of log, events for extensions, and the answer with its figures."""

from binascii import b2a_base64
from typing import TYPE_CHECKING

from funclet_agent.invocation import Invocation, Outcome
from funclet_agent.lines import Lines, Report
from funclet_agent.logs import InvocationLog

if TYPE_CHECKING:
    from funclet_agent.platform_events import PlatformEvents

FUNCTION_ERROR = b"x-amz-function-error: Unhandled\r\n"


class Recorder:
    """Answers and logs the invocations of one slot."""

    def __init__(self, log: InvocationLog, lines: Lines) -> None:
        self._log = log
        self._lines = lines
        self.events: PlatformEvents
        """Of the execution environment that there is."""
        self.init_us = 0
        """The init phase that the next answer pays for."""

    def begin(self, invocation: Invocation) -> None:
        """Its log begins."""
        self._log.begin(invocation.request_id, invocation.tail_wanted)
        self.events.invocation_started(invocation)

    def note_timeout(self, invocation: Invocation, message: str) -> None:
        """The line of an invocation that ran out of time."""
        self._log.write(self._lines.timeout(invocation.request_id, message))

    def finish(self, invocation: Invocation, outcome: Outcome, memory_mib: int) -> None:
        """The last lines, then the answer, which may hold them."""
        done = Report(invocation.duration_us, self.init_us, memory_mib, outcome.status)
        self._log.end(done)
        self.events.invocation_ended(invocation, done, len(outcome.body))
        headers = b"x-funclet-duration-us: %d\r\nx-funclet-max-memory-mib: %d\r\n" % (done.duration_us, memory_mib)
        if self.init_us:
            headers += b"x-funclet-init-us: %d\r\n" % self.init_us
            self.init_us = 0
        if outcome.failed:
            headers += FUNCTION_ERROR
        if self._log.tail is not None:
            headers += b"x-amz-log-result: %s\r\n" % b2a_base64(self._log.tail, newline=False)
        invocation.exchange.respond(200, outcome.body, headers)
