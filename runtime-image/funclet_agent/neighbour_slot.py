"""The slot of a runtime in a container beside this one. It has one execution environment and no other.

Where a runtime slot starts the next environment, this one is over, and the agent ends: the pod is replaced. (The
kubelet would start the container again, but after 10, 20, 40 … seconds when that happens again.) Two things follow:

1. An init phase that fails is not repeated within the next invocation, as on Lambda, but told to whoever makes it. So
   the slot stays for that one, and whoever waits for an instance hears why it does not come.
2. An init phase that takes longer than Lambda's 10 s is not begun again either. It goes on within the invocation that
   waits for it, whose timeout begins then.

Before the last answer it closes its port, and after each of them the connection, so that no call comes too late.
"""

import socket

from funclet_agent.execution import ExecutionEnvironment
from funclet_agent.failures import exit_failure
from funclet_agent.invocation import Invocation, Outcome, failed
from funclet_agent.loop import Loop
from funclet_agent.neighbour import Neighbour
from funclet_agent.process import Plan
from funclet_agent.runtime_slot import DOWN, INIT, RuntimeSlot
from funclet_agent.template import INIT_LIMIT_NS


class NeighbourSlot(RuntimeSlot):
    """Serves until the runtime has ended."""

    def __init__(self, listener: socket.socket, plan: Plan, loop: Loop, neighbour: Neighbour) -> None:
        super().__init__(listener, plan, loop)
        self._neighbour = neighbour
        self._is_late = False
        """The init phase takes longer than it may without an invocation."""
        self._unheard: Outcome | None = None
        """The error that the runtime gave for its failed init phase, and nobody has heard."""
        self._has_failed_init = False

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be done here."""
        return self._phase == DOWN and not self._has_failed_init and not self._gateway.is_sending

    def start(self, *, eager: bool) -> None:
        """The runtime runs already: its init phase began when it did."""
        super().start(eager=eager)
        self._began_ns -= self._neighbour.age_ns
        self.wake_at = self._began_ns + INIT_LIMIT_NS

    def _make_environment(self) -> ExecutionEnvironment:
        return ExecutionEnvironment(self, self._plan, self._loop, self._neighbour.listener, self._neighbour)

    def _advance(self) -> None:
        if self._waiting and self._phase == DOWN:
            self._tell_failure(Invocation(self._waiting.popleft(), self._plan.spec.timeout_seconds))
        elif self._waiting and self._phase == INIT and self._is_late and self._invocation is None:
            self._invocation = Invocation(self._waiting.popleft(), self._plan.spec.timeout_seconds)
            self._recorder.begin(self._invocation)
            self.wake_at = self._invocation.deadline_ns
        elif self._phase != DOWN:
            super()._advance()

    def look(self, now: int) -> None:
        """The time that `wake_at` named has come."""
        if self._phase == INIT and self._invocation is None:
            self._is_late = True
            self.wake_at = None
            self._advance()
        else:
            super().look(now)

    def on_broken(self, outcome: Outcome) -> None:
        """Answer whoever waits for this environment, and end it."""
        self._has_failed_init = self._phase == INIT and self._invocation is None
        if self._has_failed_init:
            # An exit is worded for the one who hears of it.
            self._unheard = outcome if self._neighbour.pids else None
        else:
            self._gateway.retire()
        super().on_broken(outcome)

    def on_ended(self) -> None:
        """There will be no other environment."""
        self._phase = DOWN
        self.wake_at = None
        if not self._stopping:
            self._advance()

    def _tell_failure(self, invocation: Invocation) -> None:
        self._has_failed_init = False
        self._gateway.retire()
        self._invocation = invocation
        self._recorder.begin(invocation)
        self._finish(self._unheard or failed(exit_failure(invocation.request_id, 0)))
