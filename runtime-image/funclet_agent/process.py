"""The handler process, from the fork to its end."""

import os
import signal
import socket
import sys
from collections.abc import Callable

from funclet_agent import environment, logging_setup
from funclet_agent.channel import Channel
from funclet_agent.connections import Connections
from funclet_agent.context import FunctionFacts
from funclet_agent.invoker import Invoker, Stop
from funclet_agent.lines import Lines
from funclet_agent.logs import InvocationLog
from funclet_agent.specialisation import Specialisation
from funclet_agent.state import State
from funclet_agent.tokens import TokenCheck


class Plan:
    """All that a handler process needs of the agent."""

    def __init__(self, spec: Specialisation, task_root: str, token: TokenCheck, lines: Lines) -> None:
        self.spec = spec
        self.task_root = task_root
        self.token = token
        self.lines = lines


def run(
    plan: Plan,
    listener: socket.socket,
    channel: Channel,
    state: State,
    inherited: dict[int, socket.socket],
    *,
    eager: bool,
) -> int:
    """Be the handler process; its exit status. `eager`: import before the first invocation, not as part of it."""
    spec = plan.spec
    stream = environment.log_stream_name(spec.function_version)
    variables = environment.function_environment(os.environ, spec, plan.task_root, stream)
    environment.enter(variables, plan.task_root)
    log = InvocationLog(state, plan.lines)
    log.redirect_output()
    connections = Connections(listener, channel, state, plan.token, inherited)
    invoker = Invoker(connections, channel, state, log, FunctionFacts(spec, stream))
    logging_setup.install(spec.log_format, lambda: invoker.request_id)
    try:
        return _end_of(lambda: _serve(invoker, listener, channel, spec, eager))
    finally:
        log.flush()


def _serve(invoker: Invoker, listener: socket.socket, channel: Channel, spec: Specialisation, eager: bool) -> None:
    if eager:
        invoker.initialise(spec.handler)
    invoker.serve(listener.fileno(), channel.fileno(), spec.handler, spec.timeout_seconds * 1_000_000_000)


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
