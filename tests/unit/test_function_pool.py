"""The pool of one function: a table of what happens, and a machine that tries everything."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from funclet.core.function_pool import CONNECT_FAILURES_LIMIT, FunctionPool
from funclet.core.messages import InstanceAddress
from funclet.core.slots import Slot
from funclet.errors import Throttled, Unavailable


def address(name: str, revision: str = "r1", slots: int = 1) -> InstanceAddress:
    return InstanceAddress(
        name=name, function="n/f", revision=revision, host="h", slots=list(range(8710, 8710 + slots)), token="t"
    )


@pytest.fixture
def pool() -> FunctionPool[str]:
    pool: FunctionPool[str] = FunctionPool("n/f", 2, 100)
    pool.switch("r1", None)
    return pool


def test_the_most_recently_used_slot_is_taken_first(pool: FunctionPool[str]) -> None:
    pool.add(address("a"), 0)
    pool.add(address("b"), 0)
    first, second = pool.admit("1"), pool.admit("2")
    assert first is not None
    assert second is not None
    assert pool.release(second, 1) is None
    assert pool.release(first, 2) is None
    assert pool.admit("3") is first


def test_waiters_are_served_in_their_order(pool: FunctionPool[str]) -> None:
    assert pool.admit("1") is None
    assert pool.admit("2") is None
    [(slot, waiter)] = pool.add(address("a"), 0)
    assert waiter == "1"
    assert pool.release(slot, 1) == "2"
    assert pool.release(slot, 2) is None
    assert pool.in_flight == 0


def test_a_full_queue_refuses_all_but_the_exempt(pool: FunctionPool[str]) -> None:
    pool.admit("1")
    pool.admit("2")
    with pytest.raises(Unavailable) as refused:
        pool.admit("3")
    assert refused.value.reason == "QueueFull"
    assert pool.admit("4", any_length=True) is None


def test_a_slot_that_another_gateway_uses_is_busy_until_it_says_so(pool: FunctionPool[str]) -> None:
    pool.add(address("a", slots=2), 0)
    pool.occupy(("a", 0), "b#1")
    assert [slot.name for slot in pool.occupied()] == [("a", 0)]
    slot = pool.admit("1")
    assert slot is not None
    assert slot.name == ("a", 1)
    assert pool.admit("2") is None
    assert pool.vacate(("a", 0), "c#1", 1) == []
    [(slot, waiter)] = pool.vacate(("a", 0), "b#1", 1)
    assert (slot.name, waiter) == (("a", 0), "2")


def test_a_slot_may_be_in_use_before_its_instance_is_announced(pool: FunctionPool[str]) -> None:
    pool.occupy(("a", 0), "b#1")
    assert pool.admit("1") is None
    assert pool.add(address("a"), 0) == []
    [(_, waiter)] = pool.vacate(("a", 0), "b#1", 1)
    assert waiter == "1"


def test_what_runs_elsewhere_counts_towards_the_reserved_concurrency(pool: FunctionPool[str]) -> None:
    pool.switch("r1", 1)
    pool.add(address("a", slots=2), 0)
    pool.occupy(("a", 0), "b#1")
    with pytest.raises(Throttled):
        pool.admit("1")
    pool.vacate(("a", 0), "b#1", 1)
    assert pool.admit("1") is not None


def test_a_slot_in_use_here_is_not_taken_for_one_in_use_elsewhere(pool: FunctionPool[str]) -> None:
    pool.add(address("a"), 0)
    slot = pool.admit("1")
    assert slot is not None
    pool.occupy(("a", 0), "b#1")
    assert pool.vacate(("a", 0), "b#1", 1) == []
    pool.release(slot, 2)
    assert pool.admit("2") is slot


def test_an_instance_drains_until_the_other_gateway_has_ended(pool: FunctionPool[str]) -> None:
    pool.add(address("a"), 0)
    pool.occupy(("a", 0), "b#1")
    pool.drain("a")
    assert pool.drained == []
    pool.vacate(("a", 0), "b#1", 1)
    assert pool.drained == ["a"]


def test_an_instance_that_is_gone_is_in_use_nowhere(pool: FunctionPool[str]) -> None:
    pool.add(address("a"), 0)
    pool.occupy(("a", 0), "b#1")
    pool.remove("a")
    assert pool.elsewhere == {}


def test_the_versions_of_a_function_share_what_is_reserved() -> None:
    family: list[FunctionPool[str]] = []
    pools = [FunctionPool[str](key, 10, 100, family) for key in ("n/f", "n/f:1", "n/f:2")]
    for pool in pools:
        pool.switch("r1", 2)
    assert pools[0].admit("a") is None
    assert pools[1].admit("b") is None
    for pool in pools:
        with pytest.raises(Throttled):
            pool.admit("c")
    assert pools[1].forget("b")
    assert pools[2].admit("d") is None
    with pytest.raises(Throttled):
        pools[0].admit("e")


def test_reserved_concurrency_counts_those_that_wait(pool: FunctionPool[str]) -> None:
    pool.switch("r1", 2)
    pool.add(address("a"), 0)
    assert pool.admit("1") is not None
    assert pool.admit("2") is None
    with pytest.raises(Throttled) as refused:
        pool.admit("3", any_length=True)
    assert refused.value.reason == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_an_instance_ahead_of_the_catalog_waits_for_it(pool: FunctionPool[str]) -> None:
    pool.admit("1")
    assert pool.add(address("b", "r2"), 0) == []
    assert [waiter for _, waiter in pool.switch("r2", None)] == ["1"]


def test_what_waits_is_bounded_in_bytes_too(pool: FunctionPool[str]) -> None:
    assert pool.admit("1", 60) is None
    with pytest.raises(Unavailable, match="all room"):
        pool.admit("2", 41, any_length=True)
    assert pool.admit("3", 40) is None
    assert pool.forget("1")
    assert pool.admit("4", 60, any_length=True) is None
    assert pool.waiting_bytes == 100
    pool.add(address("a", slots=2), 0)
    assert pool.waiting_bytes == 0


def test_an_old_revision_gets_nothing_more(pool: FunctionPool[str]) -> None:
    pool.add(address("a"), 0)
    slot = pool.admit("1")
    assert slot is not None
    pool.switch("r2", None)
    assert pool.admit("2") is None
    assert pool.release(slot, 1) is None
    assert list(pool.waiting) == ["2"]


def test_draining_is_told_once_when_the_last_invocation_has_ended(pool: FunctionPool[str]) -> None:
    pool.add(address("a", slots=2), 0)
    first, second = pool.admit("1"), pool.admit("2")
    assert first is not None
    assert second is not None
    pool.drain("a")
    pool.release(first, 1)
    assert pool.drained == []
    pool.release(second, 1)
    pool.drain("a")
    assert pool.drained == ["a"]


def test_a_slot_of_a_removed_instance_can_still_be_released(pool: FunctionPool[str]) -> None:
    pool.add(address("a"), 0)
    slot = pool.admit("1")
    assert slot is not None
    assert pool.remove("a") == [slot]
    assert pool.release(slot, 1) is None
    assert (pool.in_flight, pool.drained) == (0, [])
    assert pool.admit("2") is None


def test_an_instance_that_refuses_connections_is_left_alone(pool: FunctionPool[str]) -> None:
    pool.add(address("a"), 0)
    slot = pool.admit("1")
    for _ in range(CONNECT_FAILURES_LIMIT - 1):
        assert slot is not None
        slot = pool.retry(slot, "1", 0)
    assert slot is not None
    pool.admit("2")
    assert pool.retry(slot, "1", 0) is None
    assert list(pool.waiting) == ["1", "2"]


@pytest.mark.parametrize(
    ("slots", "service_ms", "pressing"),
    [(0, None, True), (1, None, True), (1, 20, False), (1, 30, True), (2, 30, False)],
)
def test_a_queue_is_pressing_unless_what_runs_soon_makes_room(
    pool: FunctionPool[str], slots: int, service_ms: float | None, pressing: bool
) -> None:
    if slots:
        pool.add(address("a", slots=slots), 0)
    pool.service_ms = service_ms
    for number in range(slots + 2):
        pool.admit(str(number))
    assert len(pool.waiting) == 2
    assert pool.is_pressing == pressing


def test_demand_says_what_is_held(pool: FunctionPool[str]) -> None:
    pool.add(address("a"), 10)
    pool.add(address("b"), 10)
    slot = pool.admit("1")
    assert slot is not None
    demand = pool.demand(15)
    assert (demand.queued, demand.in_flight, demand.service_ms) == (0, 1, None)
    assert {name: (use.busy, use.idle_seconds) for name, use in demand.instances.items()} == {"a": (0, 5), "b": (1, 0)}
    pool.release(slot, 16, 100)
    pool.release(pool.admit("2") or slot, 17, 200)
    assert pool.demand(17).service_ms == pytest.approx(120)


class Pool(RuleBasedStateMachine):
    """Whatever happens: one invocation a slot, none lost, none waits beside a free slot."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: FunctionPool[int] = FunctionPool("n/f", 3, 100)
        self.pool.switch("r1", None)
        self.running: dict[int, Slot] = {}
        self.waiting: list[int] = []
        self.sizes: dict[int, int] = {}
        self.drained: list[str] = []
        self.number = 0
        self.names = 0

    def start(self, slot: Slot, call: int) -> None:
        assert slot not in self.running.values()
        assert slot.instance.address.revision == self.pool.revision
        assert not slot.instance.draining
        self.running[call] = slot

    def begin_waiters(self, pairs: list[tuple[Slot, int]]) -> None:
        for slot, call in pairs:
            assert self.waiting.pop(0) == call
            self.start(slot, call)

    @rule(size=st.integers(0, 60))
    def invoke(self, size: int) -> None:
        self.number += 1
        self.sizes[self.number] = size
        try:
            slot = self.pool.admit(self.number, size)
        except (Throttled, Unavailable):
            return
        if slot is None:
            self.waiting.append(self.number)
        else:
            self.start(slot, self.number)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(sorted(self.running)))
        slot = self.running.pop(call)
        waiter = self.pool.release(slot, 0, 1.0)
        if waiter is not None:
            self.begin_waiters([(slot, waiter)])

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def fail_to_connect(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(sorted(self.running)))
        slot = self.pool.retry(self.running.pop(call), call, 0, self.sizes[call])
        if slot is None:
            self.waiting.insert(0, call)
        else:
            self.start(slot, call)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.waiting))
        assert self.pool.forget(call)
        assert not self.pool.forget(call)
        self.waiting.remove(call)

    @rule(revision=st.sampled_from(["r1", "r2"]), slots=st.integers(1, 3))
    def add(self, revision: str, slots: int) -> None:
        self.names += 1
        self.begin_waiters(self.pool.add(address(f"i{self.names}", revision, slots), 0))

    @precondition(lambda self: self.pool.instances)
    @rule(data=st.data(), gone=st.booleans())
    def take_away(self, data: st.DataObject, gone: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.pool.instances)))
        if gone:
            self.pool.remove(name)
        else:
            self.pool.drain(name)

    @rule(revision=st.sampled_from(["r1", "r2", None]), reserved=st.sampled_from([None, 2]))
    def switch(self, revision: str | None, reserved: int | None) -> None:
        self.begin_waiters(self.pool.switch(revision, reserved))

    @invariant()
    def nothing_is_lost(self) -> None:
        assert list(self.pool.waiting) == self.waiting
        assert self.pool.waiting_bytes == sum(self.sizes[call] for call in self.waiting)
        assert self.pool.in_flight == len(self.running)
        assert all(slot.busy for slot in self.running.values())
        assert len(set(self.pool.drained)) == len(self.pool.drained)

    @invariant()
    def none_waits_beside_a_free_slot(self) -> None:
        assert not self.waiting or self.pool.all_busy

    @invariant()
    def the_free_slots_are_exactly_the_usable_ones(self) -> None:
        usable = {
            slot
            for instance in self.pool.instances.values()
            if not (instance.draining or instance.broken or instance.gone)
            if instance.address.revision == self.pool.revision
            for slot in instance.slots
            if not slot.busy
        }
        assert self.pool.all_busy == (not usable)


TestPool = Pool.TestCase
TestPool.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
