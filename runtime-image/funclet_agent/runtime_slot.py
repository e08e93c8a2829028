"""One slot whose function runs in a runtime of its own: any `bootstrap` that speaks the Lambda Runtime API.

    gateway ──POST /invoke──▶ slot (this agent) ◀──GET next, POST response── bootstrap, extensions

The slot is one execution environment: the runtime and its extensions, one invocation at a time. It goes through

    DOWN ─▶ INIT ─▶ READY ─▶ BUSY ─▶ SETTLING ─▶ READY …      and from everywhere ─▶ ENDING ─▶ DOWN or INIT

DOWN: nothing runs; an invocation starts it. INIT: extensions register, the runtime starts, all ask for their first
event. BUSY: an invocation is out. SETTLING: it is answered, and runtime or extensions have not asked for the next yet.
ENDING: the processes are told to end, then killed. All times are nanoseconds of CLOCK_MONOTONIC.
"""

import os
import socket
import time
from collections import deque

from funclet_agent.events import report
from funclet_agent.execution import HOST, ExecutionEnvironment
from funclet_agent.failures import timeout_failure, timeout_message
from funclet_agent.http_server import Exchange, HttpServer
from funclet_agent.invocation import Invocation, Outcome, failed
from funclet_agent.listening import listen
from funclet_agent.logs import InvocationLog
from funclet_agent.loop import Loop
from funclet_agent.process import Plan
from funclet_agent.recorder import Recorder
from funclet_agent.runtime_doors import GatewayDoor
from funclet_agent.state import FAILED, SUCCEEDED, State
from funclet_agent.template import INIT_LIMIT_NS

DOWN, INIT, READY, BUSY, SETTLING, ENDING = "down", "init", "ready", "busy", "settling", "ending"

SHUTDOWN_NS = 2_000_000_000
"""Lambda gives external extensions 2 s to shut down."""
RUNTIME_SHUTDOWN_NS = 500_000_000
"""And a runtime without extensions 500 ms after SIGTERM."""


class Child:
    """One process of a slot, for the time of its end."""

    def __init__(self, environment: ExecutionEnvironment, pid: int) -> None:
        self._environment = environment
        self._pid = pid

    def ended(self, status: int, max_rss_kib: int) -> None:
        """It has ended and is reaped."""
        self._environment.child_ended(self._pid, os.waitstatus_to_exitcode(status))


class RuntimeSlot:
    """One execution environment after another behind one port. Has the face of `slot.Slot`."""

    def __init__(self, listener: socket.socket, plan: Plan, loop: Loop) -> None:
        self.state = State()
        self.wake_at: int | None = None
        """When to look again."""
        self._plan = plan
        self._loop = loop
        self._log = InvocationLog(self.state, plan.lines)
        self._recorder = Recorder(self._log, plan.lines)
        self._gateway = HttpServer(listener, loop, GatewayDoor(self, plan.token))
        self._environment: ExecutionEnvironment
        self._phase = DOWN
        self._began_ns = 0
        self._invocation: Invocation | None = None
        self._waiting: deque[Exchange] = deque()
        self._served = 0
        self._stopping = False

    @property
    def port(self) -> int:
        """Where the gateway reaches it."""
        return self._gateway.port

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it: never, where another environment can be started."""
        return False

    @property
    def pid(self) -> int:
        """One of its processes; 0 when there is none."""
        return next(iter(self._environment.pids), 0) if self._phase != DOWN else 0

    @property
    def request_id(self) -> str:
        """Of the invocation that somebody waits for."""
        return self._invocation.request_id if self._invocation else ""

    def start(self, *, eager: bool) -> None:
        """Start an execution environment; `eager`: before anybody calls, within Lambda's limit on the init phase."""
        self._phase = INIT
        self._served = 0
        self._began_ns = time.monotonic_ns()
        self.state.reset()
        if eager:
            self.wake_at = self._began_ns + INIT_LIMIT_NS
            self.state.begin_init(self.wake_at)
        self._environment = self._make_environment()
        self._recorder.events = self._environment.events
        if self._invocation is not None:
            self._recorder.begin(self._invocation)
        self._environment.start(eager=eager)

    def _make_environment(self) -> ExecutionEnvironment:
        return ExecutionEnvironment(self, self._plan, self._loop, listen(HOST, 0))

    def submit(self, exchange: Exchange) -> None:
        """An invocation has come."""
        self._waiting.append(exchange)
        self._advance()

    def _advance(self) -> None:
        """Begin the next invocation if it can begin now."""
        if not self._waiting or self._phase not in (DOWN, READY) or self._stopping:
            return
        invocation = self._invocation = Invocation(self._waiting.popleft(), self._plan.spec.timeout_seconds)
        self.wake_at = invocation.deadline_ns
        if self._phase == DOWN:
            self.start(eager=False)
        else:
            self._recorder.begin(invocation)
            self._deliver(invocation)

    def _deliver(self, invocation: Invocation) -> None:
        self._phase = BUSY
        self._environment.deliver(invocation)

    def on_output(self, data: bytes) -> None:
        """Into the log of the invocation that runs, if one does."""
        self._log.write(data)

    def on_ready(self) -> None:
        """All have asked for their next event."""
        if self._phase == INIT:
            self._end_init(SUCCEEDED, "")
            if self._invocation is not None:
                self._deliver(self._invocation)
                return
            self._recorder.init_us = max(1, self.state.init_us)
        self._phase = READY
        self.wake_at = None
        self._advance()

    def _end_init(self, init: int, status: str) -> None:
        self.state.end_init(init, (time.monotonic_ns() - self._began_ns) // 1000)
        self._environment.events.init_ended(self.state.init_us, status)

    def on_outcome(self, outcome: Outcome) -> None:
        """The invocation is over for its caller. Until all have asked for the next event its timeout still holds."""
        self._phase = SETTLING
        self._served += 1
        self._finish(outcome)
        if self._stopping:
            self._end("spindown")

    def _finish(self, outcome: Outcome) -> None:
        invocation, self._invocation = self._invocation, None
        assert invocation is not None
        memory_mib = self._environment.peak_memory_mib
        self._environment.drain_output()
        self._recorder.finish(invocation, outcome, memory_mib)

    def on_broken(self, outcome: Outcome) -> None:
        """Answer whoever waits for this environment, and end it."""
        self._close_books(outcome)
        report("environment ended", status=outcome.status, phase=self._phase, port=self.port)
        self._end("timeout" if outcome.status == "timeout" else "failure")

    def _close_books(self, outcome: Outcome) -> None:
        if self._phase == INIT:
            self._end_init(FAILED, outcome.status)
        if self._invocation is not None:
            self._finish(outcome)
        elif self._phase == INIT:
            self._environment.drain_output()
            self._log.write(self._plan.lines.init_failed(self.state.init_us, outcome.status))

    def _end(self, reason: str) -> None:
        gentle = reason == "spindown"
        patience_ns = SHUTDOWN_NS if self._environment.has_extensions else RUNTIME_SHUTDOWN_NS if gentle else 0
        self._phase = ENDING
        self.wake_at = time.monotonic_ns() + patience_ns
        self._environment.end(reason, int(time.time() * 1000) + patience_ns // 1_000_000)

    def on_ended(self) -> None:
        """Start another one: at once if the last was of use, else when somebody calls, as Lambda does."""
        served = self._served
        self._phase = DOWN
        self.wake_at = None
        if self._stopping:
            return
        if self._waiting:
            self._advance()
        elif served:
            self.start(eager=True)

    def look(self, now: int) -> None:
        """The time that `wake_at` named has come."""
        if self._phase == ENDING:
            self.wake_at = None
            self._environment.kill()
            return
        if self._invocation is not None:
            message = timeout_message(self._plan.spec.timeout_seconds)
            self._environment.drain_output()
            self._recorder.note_timeout(self._invocation, message)
        failure = timeout_failure(self.request_id, self._plan.spec.timeout_seconds)
        self.on_broken(failed(failure, "timeout"))

    def find_child(self, pid: int) -> "Child | None":
        """The process of this slot that has this id."""
        return Child(self._environment, pid) if self._phase != DOWN and pid in self._environment.pids else None

    def stop(self) -> None:
        """End after the current invocation, and start no other."""
        self._stopping = True
        if self._phase in (INIT, READY, SETTLING) and self._invocation is None:
            self._end("spindown")

    def kill(self) -> None:
        """End now, unless it has ended."""
        if self._phase != DOWN:
            self._environment.kill()
