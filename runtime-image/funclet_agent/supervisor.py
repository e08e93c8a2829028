"""The agent itself: its loop, its timers, its signals. As process 1 of the pod it also reaps orphans."""

import gc
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

from funclet_agent import loading
from funclet_agent.control import ControlServer
from funclet_agent.events import report
from funclet_agent.instance import Instance
from funclet_agent.listening import listen
from funclet_agent.loop import Loop
from funclet_agent.settings import Settings
from funclet_agent.tokens import TokenCheck

if TYPE_CHECKING:
    from funclet_agent.neighbour import Neighbour

STOP_GRACE_NS = 5_000_000_000
"""From SIGTERM on, invocations in flight have so long to end. The scaler drains an instance before it deletes it."""


class Supervisor:
    """Everything in this process."""

    def __init__(self, settings: Settings) -> None:
        self._loop = Loop()
        self._instance = Instance(settings, self._loop, _find_neighbour(settings, self._loop))
        listener = listen(settings.bind, settings.agent_port)
        self.port = int(listener.getsockname()[1])
        token = TokenCheck(settings.specialise_digest)
        self._control = ControlServer(listener, self._loop, self._instance, token, settings.memory_limit)
        self.protects_code = self._instance.protects_code
        self._stop_asked = False
        self._kill_at: int | None = None

    def run(self) -> None:
        """Until SIGTERM."""
        self._handle_signals()
        while not self._finished():
            wake_at = self._wake_at()
            self._loop.run_once(None if wake_at is None else wake_at - time.monotonic_ns())
            self._look(time.monotonic_ns())

    def _handle_signals(self) -> None:
        """A signal makes the loop's poll return: Python writes a byte into the wake-up socket."""
        self._signals, wake_up = socket.socketpair()
        for end in (self._signals, wake_up):
            end.setblocking(False)
        self._wake_up = wake_up
        signal.set_wakeup_fd(wake_up.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_stop)
        self._loop.watch(self._signals.fileno(), self._on_signal)

    def _ask_stop(self, *_: object) -> None:
        self._stop_asked = True

    def _on_signal(self) -> None:
        self._signals.recv(4096)
        self._reap()
        if self._stop_asked and self._kill_at is None:
            self._kill_at = time.monotonic_ns() + STOP_GRACE_NS
            for process in self._instance.processes:
                process.stop()

    def _reap(self) -> None:
        """Handler processes, and whatever they left behind: it is the agent that adopts orphans."""
        while pid := _find_ended_child():
            process = self._instance.find_process(pid)
            _, status, usage = os.wait4(pid, 0)
            if process is not None:
                process.ended(status, usage.ru_maxrss)
                self._instance.end_strangers()

    def _finished(self) -> bool:
        if self._instance.is_over:
            return True
        return self._kill_at is not None and not any(process.pid for process in self._instance.processes)

    def _wake_at(self) -> int | None:
        times = [process.wake_at for process in self._instance.processes]
        times += [timer.wake_at for timer in self._loop.timers]
        times += [self._control.wake_at, self._kill_at]
        return min((at for at in times if at is not None), default=None)

    def _look(self, now: int) -> None:
        self._control.look(now)
        for process in self._instance.processes:
            if process.wake_at is not None and process.wake_at <= now:
                pid = process.pid
                process.look(now)
                if process.pid == 0 or process.pid != pid:
                    self._instance.end_strangers()
        for timer in list(self._loop.timers):
            timer.look(now)
        if self._kill_at is not None and self._kill_at <= now:
            for process in self._instance.processes:
                process.kill()


def _find_neighbour(settings: Settings, loop: Loop) -> "Neighbour | None":
    """The runtime that this agent does not start, once it runs: whoever reaches the agent's port can use it."""
    if settings.runtime_api_port is None:
        return None
    # Imported late: most agents never need it.
    from funclet_agent.neighbour import meet_neighbour

    return meet_neighbour(loop, settings.runtime_api_port)


def _find_ended_child() -> int:
    """A child that has ended and is not reaped yet; 0 if there is none."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return 0 if ended is None else ended.si_pid


def main() -> int:
    """Run the agent; its exit status."""
    settings = Settings(os.environ)
    supervisor = Supervisor(settings)
    if settings.ready_fd is not None:
        os.write(settings.ready_fd, b"%d\n" % supervisor.port)
        os.close(settings.ready_fd)
    report(
        "listening",
        instance=settings.instance_name,
        port=supervisor.port,
        code="read-only" if supervisor.protects_code else "writable: this kernel has no Landlock for us",
    )
    loading.rehearse()
    # What is here now stays: the collector need not touch it, so forked processes go on sharing its pages.
    gc.collect()
    gc.freeze()
    supervisor.run()
    return 0
