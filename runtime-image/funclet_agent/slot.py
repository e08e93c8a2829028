"""One slot as the agent sees it: its listener, its handler process, and what to do when that overruns or dies.

The timer is lazy. The handler process writes each deadline into shared memory; the agent sleeps until the one it saw
last and then looks again: a later deadline (sleep on), no invocation (stop watching), or an overrun. Only while the
agent does not watch, the handler process wakes it. A warm invocation so costs the agent nothing, and an idle slot has
no timer.
"""

import os
import signal
import socket
import time
from collections.abc import Iterable

from funclet_agent import memory, process
from funclet_agent.birth import end_process_group, enter_child
from funclet_agent.channel import (
    CLOSED,
    CONNECTION,
    END,
    FROM_HANDLER,
    LOOK,
    PART,
    STOP,
    Channel,
    channel_pair,
    close_all,
)
from funclet_agent.connections import MAX_CONNECTIONS
from funclet_agent.events import report
from funclet_agent.logs import write_patiently
from funclet_agent.loop import Loop
from funclet_agent.obituary import Death, closing_lines, final_answer
from funclet_agent.state import (
    BUSY,
    IDLE,
    INITIALISING,
    PHASES,
    READING,
    RECEIVING,
    RUNNING_PHASES,
    WRITING,
    State,
)
from funclet_agent.template import INIT_LIMIT_NS, Template
from funclet_agent.wire import NOT_BEGUN

FORK_AGAIN_NS = 50_000_000
"""When a process could not be forked, or is not known yet."""


class Slot:
    """One handler process after another on one port."""

    def __init__(
        self, index: int, listener: socket.socket, plan: process.Plan, loop: Loop, template: Template | None
    ) -> None:
        self.state = State()
        self.wake_at: int | None = None
        """When to look again, nanoseconds of CLOCK_MONOTONIC."""
        self.pid = 0
        """0 while there is none: it is about to be forked, or we are stopping."""
        self._index = index
        self._listener = listener
        self._plan = plan
        self._loop = loop
        self._template = template
        self._channel: Channel
        self._connections: dict[int, socket.socket] = {}
        self._parts: set[int] = set()
        """The connections whose next request may be in the handler process in part."""
        self._eager = True
        self._stopping = False
        self._rogue = False
        """It must be killed, perhaps as soon as its process id is known."""
        self._fork_again: bool | None = None
        """Whether the process that could not be forked was to be eager; None if there is none to be forked again."""

    @property
    def port(self) -> int:
        """Where the gateway reaches it."""
        return int(self._listener.getsockname()[1])

    def start(self, *, eager: bool) -> None:
        """Get a handler process, which takes over the connections that its predecessor left: from the template, or else
        one that imports by itself, `eager` at once or else when it is called.
        """
        self.pid = 0
        self.wake_at = None
        self._rogue = False
        self.state.reset()
        self._connections = dict(enumerate(self._connections.values(), 1))
        self._channel, theirs = channel_pair()
        if not self._fork_from_template(theirs):
            self._fork(theirs, eager)
        theirs.close()
        self._loop.watch(self._channel.fileno(), self._receive)

    def start_alone(self, *, eager: bool) -> None:
        """The template that was to give it a process will not."""
        self.close_channel()
        if not self._stopping:
            self.start(eager=eager)

    def _fork_from_template(self, channel: Channel) -> bool:
        self._eager = True
        return self._template is not None and self._template.fork(self._index, self, self._descriptors(channel))

    def born(self, pid: int) -> None:
        """The template has forked its process."""
        self.pid = pid
        if self._rogue:
            self._kill_process()

    def _descriptors(self, channel: Channel) -> list[int]:
        """What the handler process needs: listener, channel, connections by their numbers."""
        connections = (connection.fileno() for connection in self._connections.values())
        return [self._listener.fileno(), channel.fileno(), *connections]

    def _fork(self, channel: Channel, eager: bool) -> None:
        self._eager = eager
        if eager:
            deadline = time.monotonic_ns() + INIT_LIMIT_NS
            self.state.begin_init(deadline)
            self._watch_until(deadline)
        try:
            self.pid = os.fork()
        except OSError as error:
            self._fork_later(eager, error)
            return
        if self.pid == 0:
            kept = self._descriptors(channel)
            if self._plan.bill is not None:
                kept.append(self._plan.bill.fileno())
            sockets = process.Sockets(self._listener, channel, self._connections)
            enter_child(kept, self._plan.limits, lambda: process.run(self._plan, sockets, self.state, eager=eager))

    def _fork_later(self, eager: bool, error: OSError) -> None:
        """The function may have used up the instance's processes or memory. Callers wait meanwhile."""
        report("no handler process", error=error.strerror, port=self.port)
        self.state.reset()
        self._fork_again = eager
        self.wake_at = time.monotonic_ns() + FORK_AGAIN_NS

    def _receive(self) -> None:
        """A message of the handler process."""
        kind = self._receive_one()
        if kind == LOOK:
            self._watch()
        elif kind == END:
            # It is dying, and SIGCHLD tells the rest; or the function has closed the channel, and will say no more.
            self._loop.forget(self._channel.fileno())
            self._watch()
        elif kind is not None and kind not in FROM_HANDLER:
            # The function writes there: no deadline would be heard of any more.
            self._loop.forget(self._channel.fileno())
            self._rogue = True
            self._kill_process()

    def _watch(self) -> None:
        """An invocation began, or the init phase ended. If it is over already, watch for the length of the timeout all
        the same: what begins from now on ends later, and quick invocations in a row wake the agent once.
        """
        busy = self.state.phase in RUNNING_PHASES
        latest = time.monotonic_ns() + self._plan.timeout_ns
        self._watch_until(min(latest, self.state.invocation.deadline_ns) if busy else latest)

    def _receive_one(self) -> bytes | None:
        """Its kind; None if there was none: an event of the predecessor's channel, which had the same descriptor."""
        message = self._channel.receive()
        if message is None:
            return None
        kind, number, descriptors = message
        if kind == CONNECTION and len(descriptors) == 1:
            self._keep_connection(number, descriptors[0])
        else:
            close_all(descriptors)
            if kind == CLOSED:
                self._drop_connection(number)
            elif kind == PART and number in self._connections:
                self._parts.add(number)
        return kind

    def _keep_connection(self, number: int, descriptor: int) -> None:
        """What the handler process sends is the function's word: it may be any descriptor, and any number of them."""
        if number in self._connections or len(self._connections) > MAX_CONNECTIONS:
            close_all([descriptor])
            return
        try:
            connection = socket.socket(fileno=descriptor)
        except OSError:
            close_all([descriptor])
            return
        connection.setblocking(False)
        self._connections[number] = connection

    def _drop_connection(self, number: int) -> None:
        self._parts.discard(number)
        connection = self._connections.pop(number, None)
        if connection is not None:
            connection.close()

    def _drop_connections(self, numbers: Iterable[int], last_words: bytes) -> None:
        for number in list(numbers):
            _send_and_close(self._connections[number], last_words)
            self._drop_connection(number)

    def look(self, now: int) -> None:
        """Decide when to look again; kill the handler process if its time is up."""
        if self._fork_again is not None:
            eager, self._fork_again = self._fork_again, None
            self.start_alone(eager=eager)
        elif self._overrun(now):
            self._enforce()
        elif self.state.phase in (*RUNNING_PHASES, INITIALISING):
            if self._has_too_much_memory():
                self._kill_process()
            self._watch_until(self.state.invocation.deadline_ns)
        else:
            self.wake_at = None
            self.state.watching = 0
            # An invocation that began before the line above did not wake us, so look once more.
            if self.state.phase == BUSY:
                self.look(now)

    def _watch_until(self, latest: int) -> None:
        """Look again then, or sooner where nobody else counts the memory."""
        if self._plan.memory_limit_mib is not None:
            latest = min(latest, time.monotonic_ns() + memory.LOOK_NS)
        self.wake_at = latest
        self.state.watching = 1

    def _has_too_much_memory(self) -> bool:
        limit = self._plan.memory_limit_mib
        return limit is not None and self.pid != 0 and memory.proportional_mib(self.pid) > limit

    def _overrun(self, now: int) -> bool:
        """Or the function has written into the shared state: no phase is unknown, and no deadline later than that."""
        phase = self.state.phase
        if phase not in (*RUNNING_PHASES, INITIALISING):
            return phase not in PHASES
        return not now < self.state.invocation.deadline_ns <= now + max(self._plan.timeout_ns, INIT_LIMIT_NS)

    def _enforce(self) -> None:
        """Freeze it, look again (it may have answered in time after all), then kill it."""
        if not self.pid:
            # The template has not told yet.
            self.wake_at = time.monotonic_ns() + FORK_AGAIN_NS
            return
        os.kill(self.pid, signal.SIGSTOP)
        _, status, usage = os.wait4(self.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self.ended(status, usage.ru_maxrss)
        elif self._overrun(time.monotonic_ns()):
            os.kill(self.pid, signal.SIGKILL)
            _, status, usage = os.wait4(self.pid, 0)
            self.ended(status, usage.ru_maxrss, timed_out=True)
        else:
            os.kill(self.pid, signal.SIGCONT)
            self.wake_at = time.monotonic_ns()

    def ended(self, status: int, max_rss_kib: int, *, timed_out: bool = False) -> None:
        """The handler process is dead and reaped: answer for it, and start another unless we are stopping."""
        end_process_group(self.pid)
        while self._receive_one() not in (None, END):
            pass
        self._settle(Death(os.waitstatus_to_exitcode(status), timed_out, max_rss_kib // 1024))
        report(
            "handler process ended", exit_code=os.waitstatus_to_exitcode(status), timed_out=timed_out, port=self.port
        )
        self._replace()

    def _settle(self, death: Death) -> None:
        """Answer the waiting caller; give back what was read in part. The other connections stay open."""
        phase = self.state.phase
        if phase not in PHASES:
            # The function wrote there. Who waits on which connection is not known any more.
            self._drop_connections(self._connections, b"")
        elif phase == RECEIVING:
            # Of one of them, it is not known which. To the others nothing is due.
            self._drop_connections(self._connections, NOT_BEGUN)
        elif phase not in (IDLE, INITIALISING):
            self._close_books(phase, death)
        self._drop_connections(self._parts, NOT_BEGUN)

    def _close_books(self, phase: int, death: Death) -> None:
        """Of the request that was read, ran or was being answered."""
        number = self.state.invocation.connection
        connection = self._connections.get(number)
        if phase in RUNNING_PHASES:
            death.init_us = self._unbilled_init_us()
            lines, body = closing_lines(self._plan, self.state, death)
            write_patiently(1, lines)
            if connection is not None and phase != WRITING:
                _send_and_close(connection, final_answer(self.state, death, body))
        elif phase == READING and connection is not None:
            _send_and_close(connection, NOT_BEGUN)
        self._drop_connection(number)

    def _unbilled_init_us(self) -> int:
        """Of an init phase before the first invocation, which that would have paid for."""
        if not self._eager or self.state.has_served:
            return 0
        bill = self._plan.bill
        return self.state.init_us if bill is None or bill.take() else 0

    def _replace(self) -> None:
        """One that never served an invocation would die again if it were replaced at once: its successor imports the
        handler when somebody calls, as Lambda does. A fork of the template that died of its first invocation is worth
        another fork; one that did not live to see it is not.
        """
        served = self.state.has_served
        if not served and self.state.phase in (IDLE, INITIALISING):
            self._template = None
        self.close_channel()
        self.pid = 0
        self.wake_at = None
        if not self._stopping:
            self.start(eager=bool(served))

    def stop(self) -> None:
        """End after the current invocation, and start no other."""
        self._stopping = True
        self._channel.send(STOP)

    def kill(self) -> None:
        """End now, unless it has ended."""
        self._kill_process()
        if self.pid:
            end_process_group(self.pid)

    def _kill_process(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)

    def close_channel(self) -> None:
        """The process at its other end is gone."""
        self._loop.forget(self._channel.fileno())
        self._channel.close()


def _send_and_close(connection: socket.socket, data: bytes) -> None:
    """A few kilobytes into an empty buffer: it takes them at once or the client is gone."""
    try:
        connection.send(data)
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
