"""A handler process, from the fork to its end."""

import os
import signal
import socket
import sys
from collections.abc import Callable

from funclet_agent import environment, logging_setup
from funclet_agent.channel import Channel
from funclet_agent.connections import Connections
from funclet_agent.context import FunctionFacts
from funclet_agent.init_bill import InitBill
from funclet_agent.invoker import Invoker, Stop
from funclet_agent.lines import Lines
from funclet_agent.loading import Init
from funclet_agent.logs import InvocationLog
from funclet_agent.settings import Settings
from funclet_agent.specialisation import Specialisation
from funclet_agent.state import State
from funclet_agent.tokens import TokenCheck
from funclet_agent.trace import TraceVariable


class Plan:
    """All that a handler process needs of the agent."""

    def __init__(
        self, spec: Specialisation, settings: Settings, token: TokenCheck, lines: Lines, bill: InitBill | None
    ) -> None:
        self.spec = spec
        self.places = settings.places
        self.limits = settings.limits
        self._counts_memory = settings.counts_memory
        self._memory_limit = settings.memory_limit
        self.token = token
        self.lines = lines
        self.bill = bill

    @property
    def memory_limit_mib(self) -> int | None:
        """What the agent itself enforces; None where a cgroup does, or will in a moment."""
        size = self.spec.memory_mib
        return size if self._counts_memory or self._memory_limit.is_above(size) else None

    @property
    def timeout_ns(self) -> int:
        """The timeout of an invocation."""
        return self.spec.timeout_seconds * 1_000_000_000


class Sockets:
    """What one slot listens to: its port, its channel, the connections that its last process left, by number."""

    def __init__(self, listener: socket.socket, channel: Channel, connections: dict[int, socket.socket]) -> None:
        self.listener = listener
        self.channel = channel
        self.connections = connections


class FunctionProcess:
    """This process, once it is the function's and no longer the agent's: environment, output, logging."""

    def __init__(self, plan: Plan, state: State) -> None:
        self.plan = plan
        spec = plan.spec
        stream = environment.log_stream_name(spec.function_version)
        variables = environment.function_environment(os.environ, spec, plan.places.task, stream)
        environment.enter(variables, plan.places)
        self._facts = FunctionFacts(spec, stream)
        self._trace = TraceVariable()
        self._trace.export_before_starts()
        self.log = InvocationLog(state, plan.lines)
        self.log.redirect_output()
        logging_setup.install(spec.log_format, lambda: self.log.request_id)

    def serve(self, sockets: Sockets, state: State, init: Init | None, *, eager: bool) -> None:
        """Serve a slot until Stop. `init`: what the template has imported; without it this process imports for itself,
        `eager`: before the first invocation, not as part of it.
        """
        plan = self.plan
        self.log.attach(state)
        connections = Connections(sockets.listener, sockets.channel, state, plan.token, sockets.connections)
        invoker = Invoker(connections, sockets.channel, state, self.log, self._facts, self._trace, plan.bill)
        if init is not None:
            invoker.inherit(init)
        elif eager:
            invoker.initialise(plan.spec.handler)
        invoker.serve(sockets.listener.fileno(), sockets.channel.fileno(), plan.spec.handler, plan.timeout_ns)

    def end_of(self, work: Callable[[], None]) -> int:
        """The exit status of a process that does this work."""
        try:
            return _end_of(work)
        finally:
            self.log.flush()


def run(plan: Plan, sockets: Sockets, state: State, *, eager: bool) -> int:
    """Be the handler process of one slot, which imports the handler for itself; its exit status."""
    function = FunctionProcess(plan, state)
    return function.end_of(lambda: function.serve(sockets, state, None, eager=eager))


def _end_of(work: Callable[[], None]) -> int:
    """What the interpreter would make of it: SystemExit's status, 1 for an exception that nobody caught.

    A function's SIGTERM handler runs when the agent stops this process, as in Lambda's shutdown phase.
    """
    try:
        try:
            work()
        except Stop:
            signal.raise_signal(signal.SIGTERM)
    except SystemExit as error:
        return _exit_status(error.code)
    except BaseException:  # noqa: BLE001  the last line of this process
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _exit_status(code: object) -> int:
    """As sys.exit documents it."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1
