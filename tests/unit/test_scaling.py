"""How many instances a function needs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.core.demand import Demand
from funclet.core.keep_alive import FixedKeepAlive, KeepAlive
from funclet.core.scaling import Idle, Policy, ScaleDecision, decide, initialization_type, plan_scale_in

DECISIONS = [
    # (what it is, policy, demand, current, desired, reason)
    ("nothing", Policy(), Demand(), 0, 0, "NoDemand"),
    ("nothing, idle ones are left to scale-in", Policy(), Demand(), 5, 0, "NoDemand"),
    ("the first call", Policy(), Demand(queued=1), 0, 1, "Demand"),
    ("ten calls of unknown length", Policy(), Demand(queued=10), 0, 10, "Demand"),
    ("ten calls of a second", Policy(), Demand(queued=10, service_seconds=1.0), 0, 10, "Demand"),
    ("a hundred calls of 2 ms", Policy(), Demand(queued=100, service_seconds=0.002), 1, 2, "Demand"),
    ("one more call of 2 ms beside one that runs", Policy(), Demand(1, 1, 0, 0.002), 1, 1, "Demand"),
    ("running calls keep their slots", Policy(), Demand(in_flight=7, service_seconds=0.002), 7, 7, "Demand"),
    ("slots share instances", Policy(concurrency=4), Demand(queued=9), 0, 3, "Demand"),
    ("a limit", Policy(max_instances=3), Demand(queued=10), 0, 3, "Limited"),
    ("reserved concurrency over slots", Policy(concurrency=2, reserved=5), Demand(queued=10), 0, 3, "Limited"),
    ("reserved 0 stops the function", Policy(reserved=0), Demand(queued=10), 0, 0, "Limited"),
    ("provisioned", Policy(provisioned=3, concurrency=2), Demand(), 0, 2, "Provisioned"),
    ("three batches of unknown length", Policy(), Demand(backlog=3), 0, 3, "Demand"),
    ("many batches of unknown length", Policy(), Demand(backlog=100), 0, 5, "Demand"),
    ("the same while the first ones run", Policy(), Demand(in_flight=5, backlog=95), 5, 5, "Demand"),
    ("very many batches of unknown length", Policy(), Demand(backlog=1000), 0, 10, "Demand"),
    ("callers beside batches of unknown length", Policy(), Demand(queued=20, backlog=100), 0, 20, "Demand"),
    ("100 batches of a second within 10 s", Policy(), Demand(backlog=100, service_seconds=1.0), 0, 10, "Demand"),
    ("the same once ten of them run", Policy(), Demand(0, 10, 90, 1.0), 10, 10, "Demand"),
    ("one batch of a minute beside one that runs", Policy(), Demand(0, 1, 1, 60.0), 1, 2, "Demand"),
    ("what keeps arriving has its slots beside the queue", Policy(), Demand(20, 30, 0, 0.1, 300.0), 30, 50, "Demand"),
    ("without a queue the rate adds nothing", Policy(), Demand(0, 3, 0, 0.1, 300.0), 3, 3, "Demand"),
    ("a long start is not worth it", Policy(), Demand(100, 1, 0, 0.1, 0.0, 9.9), 1, 1, "Demand"),
    ("a long start is worth it", Policy(), Demand(100, 1, 0, 1.0, 0.0, 9.9), 1, 10, "Demand"),
    ("a queue and a backlog", Policy(), Demand(10, 0, 100, 0.1), 0, 11, "Demand"),
    ("an unreadable source", Policy(), Demand(backlog=None), 4, 4, "DemandUnknown"),
    ("an unreadable source and callers", Policy(), Demand(queued=6, backlog=None), 4, 6, "DemandUnknown"),
    ("a silent gateway", Policy(), Demand(certain=False), 2, 2, "DemandUnknown"),
]


@pytest.mark.parametrize(("policy", "demand", "current", "desired", "reason"), [row[1:] for row in DECISIONS])
def test_decisions(policy: Policy, demand: Demand, current: int, desired: int, reason: str) -> None:
    assert decide(policy, demand, current) == ScaleDecision(desired, reason)


@pytest.mark.parametrize(
    ("policy", "others", "told"),
    [
        (Policy(), 0, "on-demand"),
        (Policy(provisioned=2), 1, "provisioned-concurrency"),
        (Policy(provisioned=2), 2, "on-demand"),
        (Policy(provisioned=3, concurrency=2), 1, "provisioned-concurrency"),
        (Policy(provisioned=3, concurrency=2), 2, "on-demand"),
        (Policy(provisioned=3, reserved=1), 1, "on-demand"),
    ],
)
def test_the_first_instances_are_those_that_are_provisioned(policy: Policy, others: int, told: str) -> None:
    assert initialization_type(policy, others) == told


counts = st.integers(0, 2000)
policies = st.builds(
    Policy,
    concurrency=st.integers(1, 100),
    max_instances=st.integers(1, 1000),
    reserved=st.none() | st.integers(0, 1000),
    provisioned=st.integers(0, 1000),
)
demands = st.builds(
    Demand,
    queued=counts,
    in_flight=counts,
    backlog=st.none() | counts,
    service_seconds=st.none() | st.floats(0, 900),
    arrivals_per_second=st.floats(0, 10000),
    init_seconds=st.none() | st.floats(0, 10),
    certain=st.booleans(),
)


predictions = st.integers(0, 20)


@given(policies, demands, counts, predictions)
def test_the_bounds_always_hold(policy: Policy, demand: Demand, current: int, predicted: int) -> None:
    assert policy.floor <= decide(policy, demand, current, predicted).desired <= policy.ceiling


@given(policies, demands, counts)
def test_what_runs_keeps_its_slots_and_nothing_has_more_than_one(policy: Policy, demand: Demand, current: int) -> None:
    if demand.certain and demand.backlog is not None:
        slots = decide(replace(policy, provisioned=0), demand, current).desired * policy.concurrency
        total = demand.in_flight + demand.queued + demand.backlog
        assert slots >= min(demand.in_flight, policy.ceiling * policy.concurrency)
        assert slots < total + policy.concurrency


@given(policies, demands, counts, st.tuples(counts, counts, counts), st.floats(0, 1000), predictions)
def test_more_demand_never_means_fewer(
    policy: Policy, demand: Demand, current: int, added: tuple[int, int, int], rate: float, predicted: int
) -> None:
    queued, in_flight, backlog = added
    more = replace(
        demand,
        queued=demand.queued + queued,
        in_flight=demand.in_flight + in_flight,
        backlog=None if demand.backlog is None else demand.backlog + backlog,
        arrivals_per_second=demand.arrivals_per_second + rate,
    )
    assert decide(policy, more, current, predicted).desired >= decide(policy, demand, current).desired


@given(policies, demands, counts, st.floats(0, 10))
def test_a_longer_start_never_means_more(policy: Policy, demand: Demand, current: int, init_seconds: float) -> None:
    quick, slow = replace(demand, init_seconds=None), replace(demand, init_seconds=init_seconds)
    assert decide(policy, slow, current).desired <= decide(policy, quick, current).desired


@given(policies, demands, counts)
def test_one_step_is_enough(policy: Policy, demand: Demand, current: int) -> None:
    desired = decide(policy, demand, current).desired
    if demand.certain and demand.backlog is not None:
        assert decide(policy, demand, desired).desired == desired


@given(policies, demands, counts)
def test_what_is_unknown_lowers_nothing(policy: Policy, demand: Demand, current: int) -> None:
    if demand.backlog is None or not demand.certain:
        assert decide(policy, demand, current).desired >= min(current, policy.ceiling)


TIMEOUT = FixedKeepAlive(60)


class KeepsTheFirst(FixedKeepAlive):
    """Level 1 is kept for an hour, all others for a minute."""

    def plan(self, level: int) -> KeepAlive:
        return KeepAlive(3600 if level == 1 else 60)


def test_scale_in_takes_the_longest_idle_first_and_only_the_overdue() -> None:
    idle = [Idle("fresh", 59), Idle("old", 100), Idle("older", 200), Idle("busy", 0)]
    assert plan_scale_in(Policy(), ScaleDecision(0, ""), 4, idle, TIMEOUT) == ["older", "old"]
    assert plan_scale_in(Policy(), ScaleDecision(3, ""), 4, idle, TIMEOUT) == ["older"]
    assert plan_scale_in(Policy(), ScaleDecision(4, ""), 4, idle, TIMEOUT) == []


def test_scale_in_stops_at_what_is_provisioned() -> None:
    idle = [Idle("a", 100), Idle("b", 100)]
    assert plan_scale_in(Policy(provisioned=1), ScaleDecision(0, ""), 2, idle, TIMEOUT) == ["b"]


def test_an_instance_is_kept_as_the_one_that_would_be_needed_next() -> None:
    idle = [Idle("late", 100), Idle("early", 200)]
    assert plan_scale_in(Policy(), ScaleDecision(0, ""), 2, idle, KeepsTheFirst(60)) == ["early"]
    busy = [*idle, Idle("busy", 0)]
    assert plan_scale_in(Policy(), ScaleDecision(1, ""), 3, busy, KeepsTheFirst(60)) == ["early", "late"]


@given(policies, counts, st.lists(st.builds(Idle, st.uuids().map(str), st.floats(0, 1000)), max_size=20))
def test_scale_in_never_goes_below_what_is_desired_nor_takes_a_busy_one(
    policy: Policy, desired: int, idle: list[Idle]
) -> None:
    names = plan_scale_in(policy, ScaleDecision(desired, ""), len(idle), idle, TIMEOUT)
    seconds = {one.name: one.seconds for one in idle}
    assert len(idle) - len(names) >= min(len(idle), desired)
    assert all(seconds[name] >= 60 for name in names)
    assert len(set(names)) == len(names)
