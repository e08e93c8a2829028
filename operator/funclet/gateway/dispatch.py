"""Admission, slot, upstream: from a call that is understood to its answer, metered."""

import asyncio
import logging
from collections.abc import Callable

from funclet.adapters.metrics import COLD_START_SECONDS, INVOCATIONS, forget_function
from funclet.core.billing import billed_ms
from funclet.core.function_pool import FunctionPool
from funclet.core.lambda_api import LambdaError, exit_error, throttled, timeout_error, unavailable
from funclet.core.qualifiers import function_key
from funclet.core.slots import Slot
from funclet.errors import Throttled, Unavailable
from funclet.gateway.budget import Budget
from funclet.gateway.call import Call, InstanceAnswer, Served
from funclet.gateway.demand import DemandReporter
from funclet.gateway.limits import Limits
from funclet.gateway.settings import GatewaySettings
from funclet.gateway.upstream import SlotConnection

log = logging.getLogger(__name__)

MIB = 1024 * 1024
OnVacated = Callable[[str, Slot], None]


class Dispatcher:
    """Owns the pools and all calls that run or wait."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        demand: DemandReporter,
        settings: GatewaySettings,
        limits: Limits,
        budget: Budget,
    ) -> None:
        self.loop = loop
        self.budget = budget
        self.functions: dict[str, Served] = {}
        """By key, each version for itself."""
        self._families: dict[str, list[FunctionPool[Call]]] = {}
        """The pools of each function's versions."""
        self._demand = demand
        self._held: list[SlotConnection] = []
        self.on_vacated: OnVacated | None = None
        """Told of slots that are free again, while another gateway waits for one."""
        self._settings = settings
        self._guard_seconds = limits.guard_seconds

    def serve(self, key: str) -> Served:
        """The function of this key, with an empty pool if it is new."""
        served = self.functions.get(key)
        if served is None:
            limit, family = self._settings.queue_limit, self._families.setdefault(function_key(key), [])
            pool = FunctionPool(key, limit, self._settings.queue_limit_mib * MIB, family)
            served = self.functions[key] = Served(key, pool, INVOCATIONS.of(key))
        return served

    def discard_unused(self, served: Served) -> None:
        """Forget a deleted function when nothing of it is left."""
        if served.pool.unused and self.functions.get(served.key) is served:
            del self.functions[served.key]
            served.pool.family.remove(served.pool)
            if not served.pool.family:
                del self._families[function_key(served.key)]
            forget_function(served.key)

    # --- the way of a call ---

    def submit(self, call: Call, any_length: bool = False) -> None:
        """Run the call now, queue it, or refuse it."""
        pool = call.served.pool
        now = self.loop.time()
        try:
            slot = pool.admit(call, len(call.body), any_length)
        except Throttled as error:
            call.served.meter.throttle(error.reason)
            call.reply.refused(call, throttled(error.reason))
            return
        except Unavailable as error:
            self._refuse(call, unavailable(error.message))
            return
        call.queued_at = now
        if slot is None:
            self._demand.hurry(pool)
            return
        if pool not in self._demand.changed:
            self._demand.touch(pool)
        self._send(slot, call, now)

    def _send(self, slot: Slot, call: Call, now: float) -> None:
        call.slot = slot
        call.sent_at = now
        (slot.channel or SlotConnection(self, slot)).send(call)

    def assign(self, pairs: list[tuple[Slot, Call]]) -> None:
        """Send waiters to slots that have become free for them."""
        now = self.loop.time()
        for slot, call in pairs:
            self._send(slot, call, now)

    def complete(self, slot: Slot, call: Call, answer: InstanceAnswer) -> None:
        """The instance has answered: free the slot for the next call, meter, answer."""
        now = self.loop.time()
        occupied_ms = (now - call.sent_at) * 1000
        served, init_us = call.served, answer.init_us
        pool = served.pool
        waiter = pool.release(slot, now, occupied_ms if init_us is None else max(0.0, occupied_ms - init_us / 1000))
        if pool not in self._demand.changed:
            self._demand.touch(pool)
        if waiter is not None:
            self._send(slot, waiter, now)
        elif self.on_vacated is not None or pool.revision is None:
            self._vacated(slot, served)
        duration_us = answer.duration_us
        if duration_us is None:
            duration_us = int(occupied_ms * 1000)
        call.duration_us = duration_us
        call.billed_ms = billed = billed_ms(duration_us, init_us or 0)
        served.meter.count_run(duration_us, billed, call.revision.memory_mib, answer.error is not None)
        if init_us is not None:
            self._note_init(call, occupied_ms, init_us)
        call.reply.answered(call, answer)

    def _vacated(self, slot: Slot, served: Served) -> None:
        if self.on_vacated is not None:
            self.on_vacated(served.key, slot)
        else:
            self.discard_unused(served)

    def _note_init(self, call: Call, occupied_ms: float, init_us: int) -> None:
        """The call waited for a cold start."""
        call.served.pool.note_init(init_us / 1000)
        call.served.meter.cold_starts += 1
        COLD_START_SECONDS.labels("queue").observe(call.sent_at - call.queued_at)
        COLD_START_SECONDS.labels("init").observe(init_us / 1_000_000)
        COLD_START_SECONDS.labels("first_answer").observe(max(0.0, occupied_ms / 1000 - init_us / 1_000_000))

    def stream(self, call: Call, content_type: str, pieces: list[bytes]) -> None:
        """The instance answers bit by bit."""
        if not call.reply.streamed(call, content_type, pieces):
            self._break_off(call)

    def _break_off(self, call: Call) -> None:
        """The caller of a stream went away: the instance need not go on."""
        slot = call.slot
        if slot is not None and (channel := find_channel(call)) is not None:
            channel.cancel()
            self.complete(slot, call, InstanceAnswer(b""))

    def throttle(self, call: Call, *, paused: bool) -> None:
        """The caller of a stream does not read, or reads again."""
        channel = find_channel(call)
        if call.stream_begun and channel is not None:
            (channel.pause if paused else channel.resume)()

    def hold(self, connection: SlotConnection) -> None:
        """No room for an answer: it is tried again at each sweep."""
        self._held.append(connection)

    # --- what goes wrong ---

    def undelivered(self, slot: Slot, call: Call) -> None:
        """Try another slot, or wait again for as long as the call may."""
        pool = call.served.pool
        call.slot = None
        log.info("call not delivered", extra={"function": pool.key, "instance": slot.instance.address.name})
        following = pool.retry(slot, call, self.loop.time(), len(call.body))
        self._demand.hurry(pool)
        if following is not None:
            self._send(following, call, self.loop.time())

    def died(self, slot: Slot, call: Call) -> None:
        """The instance had the call: it must not run twice, so the caller gets Lambda's error.

        Amid a stream the instance cannot say any more that the time was over.
        """
        timeout_seconds = call.revision.timeout_seconds
        if call.stream_begun and self.loop.time() - call.sent_at >= timeout_seconds:
            self._fail(slot, call, timeout_error(call.request_id, timeout_seconds))
        else:
            self._fail(slot, call, exit_error(call.request_id))

    def _fail(self, slot: Slot, call: Call, body: bytes) -> None:
        self.complete(slot, call, InstanceAnswer(body, error="Unhandled"))

    def _refuse(self, call: Call, error: LambdaError) -> None:
        call.served.meter.unavailable += 1
        call.reply.refused(call, error)

    def refuse_waiting(self, served: Served, error: LambdaError) -> None:
        """Answer all that wait for this function with an error."""
        for call in served.pool.refuse_waiting():
            self._refuse(call, error)
        self._demand.touch(served.pool)

    def withdraw_waiting(self, served: Served) -> list[Call]:
        """Take all that wait for this function back, unanswered."""
        calls = served.pool.refuse_waiting()
        for call in calls:
            call.request.call = None
        self._demand.touch(served.pool)
        return calls

    def abandon(self, call: Call) -> None:
        """The caller went away. What runs goes on, as on Lambda; what waits does not begin; a stream breaks off."""
        if call.stream_begun:
            self._break_off(call)
        elif call.served.pool.forget(call):
            self._demand.touch(call.served.pool)

    def sweep(self, now: float) -> None:
        """End what has waited or run for too long; go on with answers for which there is room now."""
        held, self._held = self._held, []
        for connection in held:
            connection.admit_answer()
        for served in [served for served in self.functions.values() if served.pool.in_flight or served.pool.waiting]:
            self._end_late(served.pool, now)

    def _end_late(self, pool: FunctionPool[Call], now: float) -> None:
        queued_before = now - self._settings.queue_timeout_seconds
        for call in [call for call in pool.waiting if call.queued_at < queued_before]:
            pool.forget(call)
            self._demand.touch(pool)
            self._refuse(call, unavailable("No instance became free in time."))
        for slot in list(pool.occupied()):
            running = None if slot.channel is None else slot.channel.call
            if running is not None and running.sent_at + running.revision.timeout_seconds + self._guard_seconds < now:
                self._expire(slot, running)

    def _expire(self, slot: Slot, call: Call) -> None:
        """The instance did not even answer that the time is over."""
        if slot.channel is not None:
            slot.channel.cancel()
        self._fail(slot, call, timeout_error(call.request_id, call.revision.timeout_seconds))


def find_channel(call: Call) -> SlotConnection | None:
    """The connection that the call is on."""
    channel: SlotConnection | None = None if call.slot is None else call.slot.channel
    return channel if channel is not None and channel.call is call else None
