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

from funclet_agent import process
from funclet_agent.channel import CLOSED, CONNECTION, END, LOOK, STOP, Channel, channel_pair
from funclet_agent.events import report
from funclet_agent.logs import write_fully
from funclet_agent.loop import Loop
from funclet_agent.obituary import Death, closing_lines, final_answer
from funclet_agent.state import BUSY, IDLE, INITIALISING, State

INIT_LIMIT_NS = 10_000_000_000
"""Lambda's limit on the init phase; what takes longer starts anew within the first invocation."""


class Slot:
    """One handler process after another on one port."""

    def __init__(self, listener: socket.socket, plan: process.Plan, loop: Loop) -> None:
        self.state = State()
        self.wake_at: int | None = None
        """When to look again, nanoseconds of CLOCK_MONOTONIC."""
        self.pid = 0
        self._listener = listener
        self._plan = plan
        self._loop = loop
        self._channel: Channel
        self._connections: dict[int, socket.socket] = {}
        self._eager = True
        self._stopping = False

    @property
    def port(self) -> int:
        """Where the gateway reaches it."""
        return int(self._listener.getsockname()[1])

    def fork(self, *, eager: bool) -> None:
        """Start a handler process, which takes over the connections that its predecessor left."""
        self._eager = eager
        self.state.reset()
        self.wake_at = None
        if eager:
            self.wake_at = time.monotonic_ns() + INIT_LIMIT_NS
            self.state.begin_init(self.wake_at)
            self.state.watching = 1
        self._channel, theirs = channel_pair()
        self.pid = os.fork()
        if self.pid == 0:
            self._become_handler_process(theirs)
        theirs.close()
        self._loop.watch(self._channel.fileno(), self._receive)

    def _become_handler_process(self, channel: Channel) -> None:
        """In the child; does not return. Its session makes one process group of all that the function starts."""
        status = 1
        try:
            os.setsid()
            _restore_signals()
            kept = [self._listener.fileno(), channel.fileno(), *(c.fileno() for c in self._connections.values())]
            _close_all_but(kept)
            status = process.run(self._plan, self._listener, channel, self.state, self._connections, eager=self._eager)
        finally:
            os._exit(status)

    def _receive(self) -> None:
        """A message of the handler process."""
        kind = self._receive_one()
        if kind == END:
            # SIGCHLD tells the rest.
            self._loop.forget(self._channel.fileno())
        elif kind == LOOK:
            self._watch()

    def _watch(self) -> None:
        """An invocation began, or the init phase ended. If it is over already, watch for the length of the timeout all
        the same: what begins from now on ends later, and quick invocations in a row wake the agent once.
        """
        busy = self.state.phase == BUSY
        timeout_ns = self._plan.spec.timeout_seconds * 1_000_000_000
        self.wake_at = self.state.invocation.deadline_ns if busy else time.monotonic_ns() + timeout_ns
        self.state.watching = 1

    def _receive_one(self) -> bytes | None:
        """Its kind; None if there was none: an event of the predecessor's channel, which had the same descriptor."""
        message = self._channel.receive()
        if message is None:
            return None
        kind, number, connection = message
        if kind == CONNECTION and connection is not None:
            connection.setblocking(False)
            self._connections[number] = connection
        elif kind == CLOSED:
            self._drop_connection(number)
        return kind

    def _drop_connection(self, number: int) -> None:
        connection = self._connections.pop(number, None)
        if connection is not None:
            connection.close()

    def look(self, now: int) -> None:
        """Decide when to look again; kill the handler process if its time is up."""
        if self.pid and self._overrun(now):
            self._enforce()
        elif self.state.phase in (BUSY, INITIALISING):
            self.wake_at = self.state.invocation.deadline_ns
            self.state.watching = 1
        else:
            self.wake_at = None
            self.state.watching = 0
            # An invocation that began before the line above did not wake us, so look once more.
            if self.state.phase == BUSY:
                self.look(now)

    def _overrun(self, now: int) -> bool:
        return self.state.phase in (BUSY, INITIALISING) and self.state.invocation.deadline_ns <= now

    def _enforce(self) -> None:
        """Freeze it, look again (it may have answered in time after all), then kill it."""
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
        """The handler process is dead and reaped: answer for it, and start another unless we are stopping.

        One that never served an invocation is not replaced at once (it would die again): its successor imports the
        handler when somebody calls, as Lambda does.
        """
        self._end_process_group()
        while self._receive_one() not in (None, END):
            pass
        death = Death(os.waitstatus_to_exitcode(status), timed_out, max_rss_kib // 1024, eager=self._eager)
        self._settle(death)
        report("handler process ended", exit_code=death.exit_code, timed_out=timed_out, port=self.port)
        self._replace()

    def _end_process_group(self) -> None:
        """Nothing that the function started may outlive it."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return

    def _settle(self, death: Death) -> None:
        """Answer the waiting caller; close a connection amid a request or an answer. The others stay open."""
        phase = self.state.phase
        if phase in (IDLE, INITIALISING):
            return
        number = self.state.invocation.connection
        connection = self._connections.get(number)
        if phase == BUSY:
            lines, body = closing_lines(self._plan, self.state, death)
            write_fully(1, lines)
            if connection is not None:
                _send_and_close(connection, final_answer(self.state, death, body))
        self._drop_connection(number)

    def _replace(self) -> None:
        served = self.state.served
        self.close_channel()
        self.pid = 0
        self.wake_at = None
        if not self._stopping:
            self.fork(eager=served > 0)

    def stop(self) -> None:
        """End after the current invocation, and start no other."""
        self._stopping = True
        self._channel.send(STOP)

    def kill(self) -> None:
        """End now, unless it has ended."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self._end_process_group()

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


def _restore_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _close_all_but(kept: list[int]) -> None:
    """The agent's descriptors are none of the function's business; what is left out is standard input and output."""
    for name in os.listdir("/dev/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor not in kept:
            _close(descriptor)


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        # The one that listed the directory.
        return
