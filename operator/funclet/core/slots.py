"""Instances and their slots, as one gateway uses them."""

from typing import TYPE_CHECKING, Any

from funclet.core.messages import InstanceAddress

if TYPE_CHECKING:
    from funclet.core.spans import Birth

SlotName = tuple[str, int]
"""Name of the instance, and the slot's index."""


class Instance:
    """One instance as this gateway uses it."""

    __slots__ = (
        "address", "birth", "broken", "busy", "connect_failures", "draining", "gone", "idle_since", "slots", "usable",
        "uses",
    )  # fmt: skip

    def __init__(self, address: InstanceAddress, now: float) -> None:
        self.address = address
        self.slots = [Slot(self, index, port) for index, port in enumerate(address.slots)]
        self.busy = 0
        self.idle_since = now
        self.connect_failures = self.uses = 0
        self.draining = self.broken = self.gone = False
        self.usable = False
        """Whether it may get invocations: it is of the current revision, and none of these three."""
        self.birth: Birth | None = None
        """Known of an instance that somebody waited for while this gateway was there."""

    def judge(self, revision: str | None) -> bool:
        """Find out whether it is usable, after a change of itself or of the current revision."""
        closed = self.draining or self.broken or self.gone
        self.usable = self.address.revision == revision and not closed
        return self.usable


class Slot:
    """One unit of an instance's concurrency. `channel` is the shell's own: its connection."""

    __slots__ = ("busy", "channel", "index", "instance", "port")

    def __init__(self, instance: Instance, index: int, port: int) -> None:
        self.instance = instance
        self.index = index
        self.port = port
        self.busy = False
        self.channel: Any = None

    @property
    def name(self) -> SlotName:
        """What every gateway calls it."""
        return self.instance.address.name, self.index
