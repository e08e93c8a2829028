"""The template, from the inside: imports the handler once, then is forked for each slot, as often as the agent asks.

    agent ── template ── (a process that ends at once) ── slot

The process in between makes the slots the agent's children: the agent adopts orphans, as process 1 of a pod or as a
"child subreaper" (prctl(2)), and so hears of their deaths itself, whatever the template does.

The function's hooks of os.register_at_fork run in the process in between and in the slot.
"""

import gc
import os
import socket
from collections.abc import Sequence

from funclet_agent.channel import ALONE, END, FORK, FORKED, ORPHANED, Channel, close_all, pack_birth
from funclet_agent.invoker import Stop
from funclet_agent.loading import Init, initialise
from funclet_agent.process import FunctionProcess, Plan, Sockets
from funclet_agent.state import IDLE, State

Request = tuple[int, list[int]]
"""A slot's index, and its descriptors: listener, channel, connections."""


class TemplateProcess:
    """Everything in this process."""

    def __init__(self, plan: Plan, channel: Channel, state: State, slots: Sequence[State]) -> None:
        self._function = FunctionProcess(plan, state)
        self._channel = channel
        self._state = state
        self._slots = slots

    def run(self) -> int:
        """Until the agent is gone; the exit status of this process, and of each that is forked from it."""
        return self._function.end_of(self._work)

    def _work(self) -> None:
        init = initialise(self._function.plan.spec.handler, self._state, self._function.log)
        if init.failure is not None:
            # Every slot's own process tries again when it is called, as Lambda does.
            raise SystemExit(1)
        self._state.phase = IDLE
        self._function.log.flush()
        # What is here now stays, and the collector need not touch it: the slots go on sharing its pages.
        gc.freeze()
        while True:
            self._serve_requests(init, self._receive_requests())

    def _receive_requests(self) -> list[Request]:
        """All that there are, at least one."""
        requests: list[Request] = []
        while message := self._channel.receive(wait=not requests):
            kind, number, descriptors = message
            if kind == END:
                raise Stop
            if kind == FORK:
                requests.append((number, descriptors))
        return requests

    def _serve_requests(self, init: Init, requests: list[Request]) -> None:
        if runs_threads():
            self._become(init, requests)
        self._fork(init, requests)
        for _, descriptors in requests:
            close_all(descriptors)

    def _become(self, init: Init, requests: list[Request]) -> None:
        """Threads do not survive a fork: this process serves the first slot itself, and the agent sees to the rest."""
        index, _ = requests[0]
        self._channel.send(FORKED, pack_birth(index, os.getpid()))
        self._channel.send(ORPHANED)
        self._channel.send(ALONE)
        self._be_slot(init, requests, 0)

    def _fork(self, init: Init, requests: list[Request]) -> None:
        between = os.fork()
        if between == 0:
            for position, (index, _) in enumerate(requests):
                pid = os.fork()
                if pid == 0:
                    os.setsid()
                    self._be_slot(init, requests, position)
                self._channel.send(FORKED, pack_birth(index, pid))
            os._exit(0)
        if wait_for(between) != 0:
            raise SystemExit(1)
        self._channel.send(ORPHANED)

    def _be_slot(self, init: Init, requests: list[Request], position: int) -> None:
        """Serve this slot. Does not return."""
        self._channel.close()
        for other, (_, descriptors) in enumerate(requests):
            if other != position:
                close_all(descriptors)
        index, descriptors = requests[position]
        self._function.serve(open_sockets(descriptors), self._slots[index], init, eager=True)


def open_sockets(descriptors: list[int]) -> Sockets:
    """What came with a request. The agent counts a slot's connections from 1 before it sends them."""
    listener, channel, *connections = (socket.socket(fileno=descriptor) for descriptor in descriptors)
    for each in (listener, *connections):
        each.setblocking(False)
    return Sockets(listener, Channel(channel), dict(enumerate(connections, 1)))


def runs_threads() -> bool:
    """Whether this process has threads that a fork would lose.

    Libraries such as OpenBLAS end their own threads before a fork and start them again when they need them: so if there
    are any, look once more after a fork.
    """
    if thread_count() == 1:
        return False
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    wait_for(pid)
    return thread_count() > 1


def thread_count() -> int:
    """Threads of this process, those of C libraries too."""
    return len(os.listdir("/proc/self/task"))


def wait_for(pid: int) -> int:
    """The exit status of a child; 0 when the function's own signal handler was faster."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return 0
