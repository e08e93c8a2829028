"""The template as the agent sees it: the process that slots are forked from when an instance has several.

The template is the function's process and may die, hang or lie: then every slot that waits for it, and every later one,
gets a process that imports for itself, as in an instance with one slot.
"""

import os
import signal
import time
from collections.abc import Sequence
from typing import Protocol

from funclet_agent.birth import end_process_group, enter_child, is_own_child
from funclet_agent.channel import ALONE, END, FORK, FORKED, ORPHANED, Channel, channel_pair, close_all, unpack_birth
from funclet_agent.events import report
from funclet_agent.loop import Loop
from funclet_agent.process import Plan
from funclet_agent.state import FAILED, INITIALISING, RUNNING, State
from funclet_agent.template_process import TemplateProcess

INIT_LIMIT_NS = 10_000_000_000
"""Lambda's limit on the init phase; what takes longer starts anew within the first invocation."""

MAX_MESSAGES = 2000
"""Read in a row: twice as many as it has to say of all slots. One that says more must not keep the agent busy."""


class Applicant(Protocol):
    """A slot that waits for a process."""

    def born(self, pid: int) -> None:
        """This is its process, a child of the agent."""

    def start_alone(self, *, eager: bool) -> None:
        """There is no template any more."""


class Template:
    """At most one process in the life of an instance."""

    def __init__(self, plan: Plan, loop: Loop) -> None:
        self.state = State()
        self.pid = 0
        self.wake_at: int | None = None
        """When the init phase must be over, nanoseconds of CLOCK_MONOTONIC."""
        self._plan = plan
        self._loop = loop
        self._waiting: dict[int, Applicant] = {}
        self._forked: dict[int, int] = {}
        """Slots by process id: said to be forked, but not seen to be the agent's children yet."""
        self._channel: Channel
        self._usable = False

    def start(self, slots: Sequence[State]) -> None:
        """Fork it; it begins to import. `slots`: the states of all slots."""
        self.wake_at = time.monotonic_ns() + INIT_LIMIT_NS
        self.state.begin_init(self.wake_at)
        self._channel, theirs = channel_pair()
        self.pid = os.fork()
        if self.pid == 0:
            self._become_template(theirs, slots)
        theirs.close()
        self._usable = True
        self._loop.watch(self._channel.fileno(), self.receive)

    def _become_template(self, channel: Channel, slots: Sequence[State]) -> None:
        bill = self._plan.bill
        kept = [channel.fileno()] if bill is None else [channel.fileno(), bill.fileno()]
        enter_child(kept, self._plan.limits, lambda: TemplateProcess(self._plan, channel, self.state, slots).run())

    def fork(self, index: int, slot: Applicant, descriptors: Sequence[int]) -> bool:
        """Ask for a process for this slot; False if none will come."""
        if not self._usable:
            return False
        try:
            self._channel.send_descriptors(FORK, index, descriptors)
        except OSError:
            # It takes no messages, so it is of no use; the agent waits for nobody.
            self._retire("the template does not answer")
            return False
        self._waiting[index] = slot
        return True

    def receive(self) -> None:
        """What it says: births, or that it cannot be forked."""
        for _ in range(MAX_MESSAGES):
            message = self._channel.receive()
            if message is None:
                return
            kind, number, descriptors = message
            close_all(descriptors)
            if kind == END:
                # SIGCHLD tells the rest.
                self._loop.forget(self._channel.fileno())
                return
            self._heed(kind, number)

    def _heed(self, kind: bytes, number: int) -> None:
        if kind == FORKED:
            index, pid = unpack_birth(number)
            self._forked[pid] = index
        elif kind == ORPHANED:
            self._adopt()
            if self._forked:
                self._retire("the system does not give orphans to the agent")
        elif kind == ALONE:
            self._retire("the handler's module starts threads, which no fork keeps")

    def _adopt(self) -> None:
        """Tell the slots of their processes. The template's word is checked, for the agent kills by process id."""
        for pid in list(self._forked):
            if is_own_child(pid):
                self._announce(pid)

    def _announce(self, pid: int) -> None:
        slot = self._waiting.pop(self._forked.pop(pid), None)
        if slot is None:
            return
        if pid == self.pid:
            self.pid = 0
        slot.born(pid)

    def claim(self, pid: int) -> None:
        """A child has ended that the agent does not know and has not reaped: perhaps the template has told of it."""
        self.receive()
        if pid in self._forked:
            self._announce(pid)

    def _retire(self, reason: str, *, eager: bool = True) -> None:
        """It is not asked any more. `eager`: those who wait import at once, and not with their first invocation."""
        self._usable = False
        self.wake_at = None
        self._forked.clear()
        report("slots import the handler each for itself", reason=reason)
        self.kill()
        waiting, self._waiting = self._waiting, {}
        for slot in waiting.values():
            slot.start_alone(eager=eager)

    def look(self, now: int) -> None:
        """End an init phase that takes too long."""
        if self.state.phase == INITIALISING and self.state.invocation.deadline_ns <= now:
            self.kill()
        self.wake_at = None

    def ended(self, status: int, max_rss_kib: int) -> None:
        """It is dead and reaped. If it died of its import, so would the slots: they import when somebody calls."""
        end_process_group(self.pid)
        self.pid = 0
        self.receive()
        self._adopt()
        self._loop.forget(self._channel.fileno())
        imported = self.state.init not in (RUNNING, FAILED)
        if not imported:
            self.state.end_init(FAILED, 0)
        report("template ended", exit_code=os.waitstatus_to_exitcode(status), max_memory_mib=max_rss_kib // 1024)
        if self._usable:
            self._retire("the template has ended", eager=imported)

    def stop(self) -> None:
        """Nobody is forked any more."""
        self._usable = False
        self._waiting.clear()
        self.kill()

    def kill(self) -> None:
        """End now, unless it has ended."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
