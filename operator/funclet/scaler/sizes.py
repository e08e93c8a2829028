"""The memory sizes of instances that were generic: asked for when one is claimed, in force a moment later, or never."""

from collections.abc import Callable

from funclet.core.instances import Instance, State
from funclet.scaler.writer import Writer

RESIZE_SECONDS = 30.0
"""For a resize that was accepted: a kubelet takes 50 ms, now and then a second."""

OnMisfit = Callable[[Instance, str], None]


class Sizes:
    """What was asked for, and what is in force."""

    def __init__(self, writer: Writer, clock: Callable[[], float]) -> None:
        self._writer = writer
        self._clock = clock

    def fit(self, instance: Instance, memory_mib: int, on_misfit: OnMisfit) -> None:
        """Give an instance its function's size, off the way of the call; `on_misfit` hears if that cannot be."""

        def answered(accepted: bool) -> None:
            if not accepted:
                on_misfit(instance, "ResizeRefused")
            else:
                self._expect(instance)

        if instance.memory_mib != memory_mib or instance.limit_mib not in (0, memory_mib):
            instance.memory_mib, instance.limit_mib = memory_mib, 0
            self._writer.resize(instance.namespace, instance.name, memory_mib, memory_mib, answered)
        elif instance.state is State.READY and instance.granted_memory_mib:
            self._expect(instance)

    def note_granted(self, instance: Instance, memory_mib: int) -> None:
        """The platform says which size is in force."""
        instance.granted_memory_mib = memory_mib
        if memory_mib >= instance.memory_mib:
            instance.sized_by = None

    def is_misfit(self, instance: Instance, refusal: str) -> bool:
        """Whether a resize that was refused leaves it less than it was promised, or more than its node has. A limit
        that cannot be lowered, for more is in use, does neither: until it can, the agent holds the function to its
        size.
        """
        return refusal != "Error" or instance.granted_memory_mib < instance.memory_mib

    def is_overdue(self, instance: Instance) -> bool:
        """Whether the platform agreed to another size and has not given it for too long."""
        return instance.sized_by is not None and self._clock() >= instance.sized_by

    def _expect(self, instance: Instance) -> None:
        if instance.granted_memory_mib < instance.memory_mib:
            instance.sized_by = self._clock() + RESIZE_SECONDS
