"""What this instance is: generic, then once and for all an instance of one function."""

import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from funclet_agent import archive, landlock
from funclet_agent.birth import adopts_orphans, end_strangers
from funclet_agent.bootstrap import is_fast
from funclet_agent.events import report
from funclet_agent.init_bill import InitBill
from funclet_agent.lines import lines_for
from funclet_agent.listening import listen
from funclet_agent.loop import Loop
from funclet_agent.process import Plan
from funclet_agent.settings import Settings
from funclet_agent.slot import Slot
from funclet_agent.specialisation import IMAGE_RUNTIME, Specialisation, SpecialisationError, split_body
from funclet_agent.state import FAILED, RUNNING, SUCCEEDED
from funclet_agent.template import Template
from funclet_agent.tokens import TokenCheck

if TYPE_CHECKING:
    from funclet_agent.neighbour import Neighbour
    from funclet_agent.runtime_slot import Child, RuntimeSlot


class Instance:
    """The function's code and slots, once there are any."""

    def __init__(self, settings: Settings, loop: Loop, neighbour: "Neighbour | None" = None) -> None:
        self._settings = settings
        self._loop = loop
        self.protects_code = landlock.is_available()
        """Whether a function cannot write where its code is."""
        self._neighbour = neighbour
        """The runtime that this instance does not start itself."""
        self.spec: Specialisation | None = None
        self._handler_slots: list[Slot] = []
        self._runtime_slots: list[RuntimeSlot] = []
        """One of the two lists is empty: Python runs in handler processes, all else in runtimes of its own."""
        self.template: Template | None = None
        """What the slots are forked from, if there are several."""

    def unpack(self, body: memoryview) -> Specialisation:
        """Check a specialise request's body and put its code in place; raises SpecialisationError, ArchiveError."""
        spec, archives = split_body(body)
        if spec.runtime == IMAGE_RUNTIME:
            return spec  # all that it needs is in its image
        places = self._settings.places
        roots = [places.opt] * len(spec.layer_bytes) + [places.task]
        try:
            for root in set(roots):
                os.makedirs(root, exist_ok=True)
        except OSError as error:
            raise archive.ArchiveError(f"the code has no place: {error}") from error
        archive.unpack(list(zip(archives, roots, strict=True)))
        return spec

    def start(self, spec: Specialisation) -> list[int]:
        """Open the slots and start their processes; their ports. From here on there is no way back."""
        listeners = list(self._listeners(spec.concurrency))
        self.spec = spec
        if self.protects_code and spec.runtime != IMAGE_RUNTIME:
            # All that is started from here on inherits it. An image's container has its own protection.
            landlock.give_up_writing(self._settings.writable)
        if self._neighbour is not None:
            self._start_beside(self._neighbour, spec, listeners[0])
        elif is_fast(spec, self._settings.places):
            self._start_handlers(spec, listeners)
        else:
            self._start_runtimes(spec, listeners)
        report("specialised", function=spec.function, revision=spec.revision, slots=self.ports)
        return self.ports

    def _start_handlers(self, spec: Specialisation, listeners: list[socket.socket]) -> None:
        """Several slots share one import: they are forked from a template. One slot needs no process but its own."""
        token = TokenCheck(self._settings.invoke_digest)
        lines = lines_for(spec)
        shared = spec.concurrency > 1 and adopts_orphans()
        plan = Plan(spec, self._settings, token, lines, InitBill() if shared else None)
        self.template = Template(plan, self._loop) if shared else None
        self._handler_slots = [
            Slot(n, listener, plan, self._loop, self.template) for n, listener in enumerate(listeners)
        ]
        if self.template is not None:
            self.template.start([slot.state for slot in self._handler_slots])
        for slot in self._handler_slots:
            slot.start(eager=True)

    def _start_runtimes(self, spec: Specialisation, listeners: list[socket.socket]) -> None:
        # Imported late: most instances never need it.
        from funclet_agent.runtime_slot import RuntimeSlot

        token = TokenCheck(self._settings.invoke_digest)
        lines = lines_for(spec)
        plan = Plan(spec, self._settings, token, lines, None)
        self._runtime_slots = [RuntimeSlot(listener, plan, self._loop) for listener in listeners]
        for slot in self._runtime_slots:
            slot.start(eager=True)

    def _start_beside(self, neighbour: "Neighbour", spec: Specialisation, listener: socket.socket) -> None:
        from funclet_agent.neighbour_slot import NeighbourSlot

        plan = Plan(spec, self._settings, TokenCheck(self._settings.invoke_digest), lines_for(spec), None)
        slot = NeighbourSlot(listener, plan, self._loop, neighbour)
        self._runtime_slots = [slot]
        slot.start(eager=True)

    @property
    def is_over(self) -> bool:
        """Whether this instance cannot serve any more."""
        return any(slot.is_over for slot in self._runtime_slots)

    @property
    def slots(self) -> "list[Slot | RuntimeSlot]":
        """All of them, of whichever kind."""
        return [*self._handler_slots, *self._runtime_slots]

    @property
    def processes(self) -> "list[Slot | RuntimeSlot | Template]":
        """All that the agent looks after."""
        return [*([] if self.template is None else [self.template]), *self.slots]

    def find_process(self, pid: int) -> "Slot | Template | Child | None":
        """Whose process this is. A slot's may have ended before the agent read that it was born."""
        for runtime_slot in self._runtime_slots:
            if (child := runtime_slot.find_child(pid)) is not None:
                return child
        if self.template is not None and self.template.pid == pid:
            return self.template
        found = self._find_slot(pid)
        if found is None and self.template is not None:
            self.template.claim(pid)
            found = self._find_slot(pid)
        return found

    def end_strangers(self) -> None:
        """After the end of a handler process: what it left running in sessions of their own. With several slots nobody
        knows whose they are, and they live as long as the instance.
        """
        if len(self._handler_slots) == 1:
            end_strangers({self._handler_slots[0].pid})

    def _find_slot(self, pid: int) -> Slot | None:
        return next((slot for slot in self._handler_slots if slot.pid == pid), None)

    def _listeners(self, count: int) -> Iterator[socket.socket]:
        first = self._settings.slot_port
        for index in range(count):
            try:
                yield listen(self._settings.bind, first + index if first else 0)
            except OSError as error:
                raise SpecialisationError(f"slot {index} cannot listen: {error.strerror}") from error

    @property
    def ports(self) -> list[int]:
        """One port a slot."""
        return [slot.port for slot in self.slots]

    def status(self) -> dict[str, Any]:
        """The answer of GET /v1/status."""
        if self.spec is None:
            init = {"state": "pending", "duration_ms": None}
            return {"state": "generic", "function": None, "revision": None, "slots": [], "init": init}
        return {"state": "specialised", **self.identity(), "init": self._init_status()}

    def identity(self) -> dict[str, Any]:
        """Whose instance this is; the answer to a second specialisation."""
        if self.spec is None:
            return {"function": None, "revision": None, "slots": []}
        return {"function": self.spec.function, "revision": self.spec.revision, "slots": self.ports}

    def _init_status(self) -> dict[str, Any]:
        """Over all processes: one failure is a failure, unless every slot has the handler after all."""
        states = {slot.state.init for slot in self.slots}
        if self.template is not None and states != {SUCCEEDED}:
            states.add(self.template.state.init)
        for state, name in ((FAILED, "failed"), (RUNNING, "running")):
            if state in states:
                return {"state": name, "duration_ms": None if state == RUNNING else self._init_ms()}
        if states == {SUCCEEDED}:
            return {"state": "succeeded", "duration_ms": self._init_ms()}
        return {"state": "pending", "duration_ms": None}

    def _init_ms(self) -> float:
        return max(process.state.init_us for process in self.processes) / 1000
