"""The handler process's loop: one invocation at a time, from the request's bytes to the answer's.

The order matters. The shared state says BUSY before the function runs and RESPONDING before the answer's first byte, so
that whatever happens in between, the agent knows whether it may still answer.
"""

from binascii import b2a_base64
from resource import RUSAGE_SELF, getrusage
from time import monotonic_ns
from typing import Any

from funclet_agent.channel import END, LOOK, STOP, Channel
from funclet_agent.connections import Connections, LostConnection, Request
from funclet_agent.context import ClientContext, FunctionFacts, LambdaContext
from funclet_agent.failures import Failure, exception_failure
from funclet_agent.init_bill import InitBill
from funclet_agent.lines import Report
from funclet_agent.loading import Handler, Init, initialise
from funclet_agent.logs import InvocationLog
from funclet_agent.marshalling import MarshalError, read_event, write_answer
from funclet_agent.runtime_api import INVOKED_ARN
from funclet_agent.state import IDLE, PHASE, RESPONDING, STREAMING, SUCCEEDED, WATCHING, WRITING, State
from funclet_agent.streaming import GENERATOR, collect, ending, is_wanted, send_pieces
from funclet_agent.trace import TraceVariable
from funclet_agent.wire import USUAL_ANSWER, answer

MEMORY_SAMPLE_US = 1000
"""An invocation that took less has hardly touched a few mebibytes: the last sample of the peak stands, for a while."""
MEMORY_SAMPLE_INTERVAL_NS = 100_000_000
FUNCTION_ERROR = b"x-amz-function-error: Unhandled\r\n"


class Stop(BaseException):
    """The handler process must end: the agent is gone or says so, or the init failed and was answered."""


class Invoker:
    """Serves one slot until told to stop."""

    def __init__(
        self,
        connections: Connections,
        channel: Channel,
        state: State,
        log: InvocationLog,
        facts: FunctionFacts,
        trace: TraceVariable,
        bill: InitBill | None,
    ) -> None:
        self.connections = connections
        self.channel = channel
        self.state = state
        self.log = log
        self.facts = facts
        self.trace = trace
        self.bill = bill
        self.request_id = ""
        self._handler: Handler | None = None
        self._init_failure: Failure | None = None
        self._init_us = 0
        self._memory_mib = 0
        self._memory_sampled_ns = 0
        self._has_served = 0

    def initialise(self, name: str) -> None:
        """The init phase, before any invocation."""
        self._use(initialise(name, self.state, self.log))
        self.state.phase = IDLE
        self.channel.send(LOOK)

    def inherit(self, init: Init) -> None:
        """The init phase was the template's."""
        self._use(init)
        self.state.end_init(SUCCEEDED, init.duration_us)

    def _use(self, init: Init) -> None:
        self._handler = init.handler
        self._init_failure = init.failure
        self._init_us = init.duration_us

    def serve(self, listener: int, channel: int, name: str, timeout_ns: int) -> None:
        """Serve until Stop."""
        poll = self.connections.poll.poll
        while True:
            for descriptor, _ in poll():
                if descriptor == listener:
                    self.connections.accept()
                elif descriptor == channel:
                    self._obey()
                else:
                    request = self.connections.read(descriptor)
                    if request is not None:
                        self.invoke(request, name, timeout_ns)
                    else:
                        self.state.phase = IDLE

    def _obey(self) -> None:
        """The agent says one thing only, and when it is gone nobody would enforce a timeout."""
        message = self.channel.receive()
        if message is not None and message[0] in (STOP, END):
            raise Stop

    def invoke(self, request: Request, name: str, timeout_ns: int) -> None:
        """One invocation."""
        tail_wanted = request.headers.get(b"x-amz-log-type") == b"Tail"
        self.request_id = request.request_id.decode("latin-1")
        self.log.begin(self.request_id, tail_wanted)
        started = monotonic_ns()
        deadline = started + timeout_ns
        self.state.begin(request.number, started, deadline, request.request_id, tail_wanted)
        if not self.state.memory[WATCHING]:
            self.channel.send(LOOK)
        if self._handler is None and self._init_failure is None:
            self._use(initialise(name, self.state, self.log))
            self._init_us = 0  # it is a part of this invocation's duration
        body, extra = self._outcome(request, deadline)
        self._respond(request, body, extra, started, monotonic_ns())

    def _outcome(self, request: Request, deadline_ns: int) -> tuple[bytes, bytes]:
        """The answer's body, and the header line of a failure."""
        if self._handler is None:
            return self._failed(self._init_failure or {})
        try:
            event = read_event(request.body)
            self.trace.set(request.trace_id)
            result = self._handler(event, self._context(request.headers, deadline_ns))
            if type(result) is GENERATOR:
                return self._stream(request, result), b""
            return write_answer(result), b""
        except MarshalError as error:
            return self._failed(error.failure)
        except Exception as error:  # noqa: BLE001  whatever the function raises is an answer
            return self._failed(exception_failure(error))

    def _context(self, headers: dict[bytes, bytes], deadline_ns: int) -> LambdaContext:
        if not headers:
            return LambdaContext(self.facts, self.request_id, deadline_ns, None)
        arn = headers.get(INVOKED_ARN)
        client = _client_context(headers)
        named = None if arn is None else arn.decode("latin-1")
        return LambdaContext(self.facts, self.request_id, deadline_ns, client, named)

    def _stream(self, request: Request, generator: Any) -> bytes:
        """What is left to be sent of an answer that comes bit by bit: all of it, unless the caller reads a stream.

        A caller that is slow holds up the function, for as long as the timeout allows; the agent enforces that.
        """
        if not is_wanted(request.headers):
            return collect(generator)

        def send(data: bytes) -> bool:
            self.state.phase = WRITING
            sent = self.connections.send(request.connection, data, -1)
            self.state.phase = STREAMING
            return sent

        send_pieces(generator, send)
        return b""

    def _failed(self, failure: Failure) -> tuple[bytes, bytes]:
        self.log.write_failure(failure)
        return write_answer({**failure, "requestId": self.request_id}), FUNCTION_ERROR

    def _respond(self, request: Request, body: bytes, extra: bytes, started_ns: int, ended_ns: int) -> None:
        """Answer, print the last lines, count. The lines come first only if they are part of the answer."""
        log, memory = self.log, self.state.memory
        duration_us = (ended_ns - started_ns) // 1000
        if duration_us >= MEMORY_SAMPLE_US or ended_ns - self._memory_sampled_ns > MEMORY_SAMPLE_INTERVAL_NS:
            self._sample_memory(ended_ns)
        init_us = self._init_us and self._bill_init()
        report = Report(duration_us, init_us, self._memory_mib, "error" if extra else "")
        phase = memory[PHASE]
        tail_wanted = log.tail is not None
        if extra or init_us or tail_wanted or phase == STREAMING:
            data = self._compose(body, extra, report, phase)
        else:
            data = USUAL_ANSWER % (len(body), duration_us, self._memory_mib, body)
        memory[PHASE] = RESPONDING
        try:
            sent = self.connections.send(request.connection, data)
        except LostConnection:
            memory[PHASE] = phase
            raise
        memory[PHASE] = IDLE
        if not self._has_served:
            self._has_served = self.state.has_served = 1
        if not tail_wanted:
            log.end(report)
        if not sent:
            self.connections.close(request.connection.fileno())
        if self._init_failure:
            self.state.has_served = 0
            raise Stop

    def _compose(self, body: bytes, extra: bytes, report: Report, phase: int) -> bytes:
        """An answer of another kind, or the end of a stream. Prints the last lines if the caller wants them."""
        extra += b"x-funclet-duration-us: %d\r\nx-funclet-max-memory-mib: %d\r\n" % (
            report.duration_us,
            report.max_memory_mib,
        )
        if report.init_us:
            extra += b"x-funclet-init-us: %d\r\n" % report.init_us
        if self.log.tail is not None:
            self.log.end(report)
            extra += b"x-amz-log-result: %s\r\n" % b2a_base64(self.log.tail, newline=False)
        return ending(extra, body) if phase == STREAMING else answer(200, body, extra)

    def _bill_init(self) -> int:
        """Microseconds of the init phase that this answer pays for: it is this process's first."""
        init_us, self._init_us = self._init_us, 0
        return init_us if self.bill is None or self.bill.take() else 0

    def _sample_memory(self, now: int) -> None:
        """The peak of this process. Asking takes 2 µs, so quick invocations in a row ask ten times a second."""
        self._memory_sampled_ns = now
        self._memory_mib = getrusage(RUSAGE_SELF).ru_maxrss // 1024


def _client_context(headers: dict[bytes, bytes]) -> ClientContext | None:
    content: Any = read_event(headers.get(b"lambda-runtime-client-context") or b"null")
    return ClientContext(content) if isinstance(content, dict) else None
