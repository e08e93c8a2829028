"""An instance's life and the register."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.core.instances import STUCK_SECONDS, Instance, Register, State, Step, Stuck, find_stuck
from funclet.errors import Conflict


def _instance(name: str = "i", state: State = State.STARTING) -> Instance:
    return Instance(name, "default", "python3.13", 128, since=0.0, state=state)


def test_a_whole_life() -> None:
    instance = _instance()
    seen = []
    for now, step in enumerate([Step.LISTENS, Step.PUSHED, Step.ACCEPTED, Step.DRAIN, Step.REMOVE]):
        instance.advance(step, now)
        seen.append(instance.state)
    assert seen == [State.GENERIC, State.SPECIALISING, State.READY, State.DRAINING, State.GONE]
    assert instance.since == 4


@given(st.sampled_from(State), st.sampled_from(Step))
def test_nothing_leads_back(state: State, step: Step) -> None:
    instance = _instance(state=state)
    order = list(State)
    try:
        instance.advance(step, 1.0)
    except Conflict:
        assert instance.state is state
    else:
        assert order.index(instance.state) > order.index(state)


def test_a_claimed_instance_leaves_its_pool_for_good() -> None:
    register, instance = Register(), _instance()
    register.add(instance)
    assert register.of_pool(("default", "python3.13")) == [instance]
    register.claim(instance, "default/f", "r1")
    assert register.of_pool(("default", "python3.13")) == []
    assert register.of_function("default/f") == [instance]
    with pytest.raises(Conflict):
        register.claim(instance, "default/g", "r1")


def test_a_removed_instance_leaves_nothing_behind() -> None:
    register = Register()
    claimed, unclaimed = _instance("a"), _instance("b")
    for instance in (claimed, unclaimed):
        register.add(instance)
    register.claim(claimed, "default/f", "r1")
    for instance in (claimed, unclaimed, claimed):
        register.remove(instance, 1.0)
    assert (register.by_name, list(register.functions), list(register.pools)) == ({}, [], [])
    assert claimed.state is State.GONE


def test_a_pool_can_give_what_listens() -> None:
    register, instance = Register(), _instance()
    register.add(instance)
    pool = ("default", "python3.13")
    assert not register.has_generic(pool)
    instance.advance(Step.LISTENS, 1.0)
    assert register.has_generic(pool)
    register.claim(instance, "default/f", "r1")
    assert not register.has_generic(pool)


def test_what_is_stuck_for_a_while_is_told_of() -> None:
    waits, waits_longer, fine = _instance("a"), _instance("b"), _instance("c")
    waits.stuck, waits_longer.stuck = Stuck("Unschedulable", "no memory", 3.0), Stuck("Unschedulable", "no CPU", 1.0)
    assert find_stuck([waits, waits_longer, fine], now=1.0 + STUCK_SECONDS) == waits_longer.stuck
    assert find_stuck([waits, waits_longer, fine], now=STUCK_SECONDS) is None
    assert find_stuck([fine], now=100.0) is None
    waits_longer.state = State.GENERIC
    assert find_stuck([waits_longer], now=100.0) is None
