"""The slots of one version of a function: which invocation runs where, which wait, and which are refused.

Rules:
1. A slot runs one invocation at a time.
2. Only instances of the current revision get new invocations. An instance of another revision is kept, and serves once
   the catalog names its revision (the feed may be ahead of the catalog).
3. The most recently used slot is taken first, so that the other instances can fall idle.
4. While a usable slot is free, nothing waits. First come, first served.
5. A draining instance is named as drained exactly once, when its last invocation has ended.
6. A slot that another gateway still uses, which was the function's home before, is busy and counts as an invocation
   until that gateway says that it has ended.
7. What waits is bounded twice: in number, and in the bytes of its payloads.
8. What is reserved for a function, all of its versions share: each has a pool, and all of them are the `family`.

Methods change the state and return what is to be done. `now` is in seconds of any monotonic clock.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

from funclet.core.messages import FunctionDemand, InstanceAddress, InstanceUse
from funclet.core.scaling import COLD_START_SECONDS
from funclet.core.slots import Instance, Slot, SlotName
from funclet.errors import Throttled, Unavailable

RESERVED_LIMIT = "ReservedFunctionConcurrentInvocationLimitExceeded"
QUEUE_FULL = "QueueFull"

SERVICE_WEIGHT = 0.2
"""Weight of the newest invocation in the moving average of the service time: the last ten make up 90 % of it."""
PRESSING_MS = 1000 * COLD_START_SECONDS / 2
"""Half of what a start takes: a queue that ends sooner can wait for the next report."""
CONNECT_FAILURES_LIMIT = 3
"""An instance that refuses this many connections in a row gets nothing more."""


def is_pressing(waiting: int, in_flight: int, service_ms: float | None) -> bool:
    """Whether what waits may be worth an instance: nothing runs, or what runs will not soon make room for it."""
    return not in_flight or service_ms is None or waiting * service_ms > in_flight * PRESSING_MS


def moving_average(old: float | None, new: float) -> float:
    """What is remembered of a measure once it has been taken again."""
    return new if old is None else old + SERVICE_WEIGHT * (new - old)


W = TypeVar("W")
Assignment = tuple[Slot, W]


class FunctionPool(Generic[W]):
    """One version of a function: its instances, and its invocations that run or wait. W is the shell's invocation."""

    def __init__(
        self, key: str, queue_limit: int, queue_limit_bytes: int, family: "list[FunctionPool[W]] | None" = None
    ) -> None:
        self.key = key
        self.family = [] if family is None else family
        """The pools of all versions of the function, this one too."""
        self.family.append(self)
        self.queue_limit = queue_limit
        self.queue_limit_bytes = queue_limit_bytes
        self.revision: str | None = None
        self.reserved_concurrency: int | None = None
        self.instances: dict[str, Instance] = {}
        self.waiting: OrderedDict[W, int] = OrderedDict()
        """With the bytes that each one holds."""
        self.waiting_bytes = 0
        self.in_flight = 0
        self.elsewhere: dict[SlotName, str] = {}
        """Slots that another gateway still uses, with that gateway's id."""
        self.arrivals = 0
        self.service_ms: float | None = None
        self.init_ms: float | None = None
        self.drained: list[str] = []
        """Names for the next report; the shell empties it."""
        self._free: list[Slot] = []

    def admit(self, waiter: W, size: int = 0, any_length: bool = False) -> Slot | None:
        """A slot to use now, or None: it waits. Raises Throttled or Unavailable when it may not even wait.

        `size`: the bytes that it holds meanwhile. `any_length` lifts the bound on the number, never that on the bytes.
        """
        self.arrivals += 1
        reserved = self.reserved_concurrency
        if reserved is not None and sum(pool.claimed for pool in self.family) >= reserved:
            raise Throttled("Rate Exceeded.", reason=RESERVED_LIMIT)
        if self._free:
            return self._take()
        if len(self.waiting) >= self.queue_limit and not any_length:
            raise Unavailable(f"{len(self.waiting)} invocations of this function wait already.", reason=QUEUE_FULL)
        if self.waiting_bytes + size > self.queue_limit_bytes:
            raise Unavailable("The payloads that wait for this function take all room there is.", reason=QUEUE_FULL)
        self._enqueue(waiter, size)
        return None

    @property
    def claimed(self) -> int:
        """Invocations that run or wait."""
        return self.in_flight + len(self.elsewhere) + len(self.waiting)

    def _enqueue(self, waiter: W, size: int) -> None:
        self.waiting[waiter] = size
        self.waiting_bytes += size

    def _dequeue(self) -> W:
        waiter, size = self.waiting.popitem(last=False)
        self.waiting_bytes -= size
        return waiter

    def release(self, slot: Slot, now: float, service_ms: float | None = None) -> W | None:
        """An invocation has ended. Returns the waiter that runs on this slot now, if any."""
        if service_ms is not None:
            self.service_ms = moving_average(self.service_ms, service_ms)
        instance = slot.instance
        if instance.usable:
            if self.waiting:
                return self._dequeue()
            self._free.append(slot)
        self.in_flight -= 1
        self._clear(slot, now)
        return None

    def note_init(self, init_ms: float) -> None:
        """An instance has been through its init phase."""
        self.init_ms = moving_average(self.init_ms, init_ms)

    def forget(self, waiter: W) -> bool:
        """The caller went away or gave up waiting. False: it was not waiting."""
        size = self.waiting.pop(waiter, None)
        self.waiting_bytes -= size or 0
        return size is not None

    def retry(self, slot: Slot, waiter: W, now: float, size: int = 0) -> Slot | None:
        """Nothing was delivered to `slot`: the slot to try next, or None when the waiter is first in the queue now."""
        instance = slot.instance
        instance.connect_failures += 1
        if instance.connect_failures >= CONNECT_FAILURES_LIMIT and not instance.broken:
            instance.broken = True
            self._rebuild_free()
        self.in_flight -= 1
        self._clear(slot, now)
        if instance.usable:
            self._free.insert(0, slot)
        if self._free:
            return self._take()
        self._enqueue(waiter, size)
        self.waiting.move_to_end(waiter, last=False)
        return None

    def _clear(self, slot: Slot, now: float) -> None:
        """Nothing runs on this slot any more."""
        slot.busy = False
        instance = slot.instance
        instance.busy -= 1
        if instance.busy == 0:
            instance.idle_since = now
            if instance.draining and not instance.gone:
                self.drained.append(instance.address.name)

    def add(self, address: InstanceAddress, now: float) -> list[Assignment[W]]:
        """An instance was announced. Announcing it again changes nothing."""
        if address.name in self.instances:
            return []
        instance = self.instances[address.name] = Instance(address, now)
        if self.elsewhere:
            for slot in instance.slots:
                if slot.name in self.elsewhere:
                    self._block(slot)
        if instance.judge(self.revision):
            self._free.extend(slot for slot in reversed(instance.slots) if not slot.busy)
        return self._assign()

    def drain(self, name: str) -> None:
        """Give this instance nothing more. An idle or unknown one is drained at once."""
        instance = self.instances.get(name)
        if instance is None or instance.draining:
            return
        instance.draining = True
        self._rebuild_free()
        if instance.busy == 0:
            self.drained.append(name)

    def remove(self, name: str) -> list[Slot]:
        """The instance is gone. Returns its slots; closing their connections fails what runs on them."""
        instance = self.instances.pop(name, None)
        if instance is None:
            return []
        instance.gone = True
        instance.judge(self.revision)
        self.elsewhere = {slot: by for slot, by in self.elsewhere.items() if slot[0] != name}
        self._rebuild_free()
        return instance.slots

    def switch(self, revision: str | None, reserved_concurrency: int | None) -> list[Assignment[W]]:
        """The catalog names the revision that callers get from now on; None: the function was deleted."""
        self.reserved_concurrency = reserved_concurrency
        if revision == self.revision:
            return []
        self.revision = revision
        self._rebuild_free()
        return self._assign()

    def refuse_waiting(self) -> list[W]:
        """Take all waiters out of the queue, to be answered with an error."""
        waiters = list(self.waiting)
        self.waiting.clear()
        self.waiting_bytes = 0
        return waiters

    # --- slots that another gateway uses ---

    def occupied(self) -> Iterator[Slot]:
        """The slots on which something runs, begun here or elsewhere."""
        for instance in self.instances.values():
            if instance.busy:
                yield from [slot for slot in instance.slots if slot.busy]

    def occupy(self, name: SlotName, by: str) -> None:
        """Another gateway still uses this slot. The instance may not have been announced here yet."""
        slot = self._find_slot(name)
        if slot is not None and slot.busy and name not in self.elsewhere:
            return  # with an invocation that was begun here, the last time that this gateway was the home
        self.elsewhere[name] = by
        if slot is not None and not slot.busy:
            self._block(slot)
            self._free = [free for free in self._free if free is not slot]

    def vacate(self, name: SlotName, by: str, now: float) -> list[Assignment[W]]:
        """It uses the slot no more."""
        if self.elsewhere.get(name) != by:
            return []
        del self.elsewhere[name]
        slot = self._find_slot(name)
        if slot is not None:
            self._clear(slot, now)
            if slot.instance.usable:
                self._free.append(slot)
        return self._assign()

    def _find_slot(self, name: SlotName) -> Slot | None:
        instance = self.instances.get(name[0])
        return instance.slots[name[1]] if instance is not None and 0 <= name[1] < len(instance.slots) else None

    def _block(self, slot: Slot) -> None:
        slot.busy = True
        slot.instance.busy += 1

    @property
    def all_busy(self) -> bool:
        """Whether no slot is free for a new invocation."""
        return not self._free

    @property
    def is_pressing(self) -> bool:
        """Whether what waits may be worth an instance."""
        return is_pressing(len(self.waiting), self.in_flight, self.service_ms)

    @property
    def unused(self) -> bool:
        """Whether nothing is left that this pool would be needed for."""
        left = self.instances or self.waiting or self.in_flight or self.drained or self.elsewhere
        return self.revision is None and not left

    def demand(self, now: float) -> FunctionDemand:
        """What the scaler is told."""
        uses = {
            name: InstanceUse(
                busy=instance.busy,
                idle_seconds=0 if instance.busy else max(0, now - instance.idle_since),
                uses=instance.uses,
            )
            for name, instance in self.instances.items()
        }
        return FunctionDemand(
            queued=len(self.waiting),
            in_flight=self.in_flight,
            service_ms=self.service_ms,
            arrivals=self.arrivals,
            init_ms=self.init_ms,
            instances=uses,
        )

    def _take(self) -> Slot:
        slot = self._free.pop()
        slot.busy = True
        slot.instance.busy += 1
        slot.instance.uses += 1
        self.in_flight += 1
        return slot

    def _assign(self) -> list[Assignment[W]]:
        return [(self._take(), self._dequeue()) for _ in range(self._pairs())]

    def _pairs(self) -> int:
        return min(len(self._free), len(self.waiting))

    def _rebuild_free(self) -> None:
        """Keep the order of the slots that stay; add those of instances that have become usable."""
        for instance in self.instances.values():
            instance.judge(self.revision)
        kept = [slot for slot in self._free if slot.instance.usable]
        known = set(kept)
        new = [slot for slot in self._usable_idle_slots() if slot not in known]
        self._free = new + kept

    def _usable_idle_slots(self) -> Iterator[Slot]:
        for instance in self.instances.values():
            if instance.usable:
                yield from [slot for slot in instance.slots if not slot.busy]
