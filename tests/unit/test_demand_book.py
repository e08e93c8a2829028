"""What the reporters say, summed up; fairness between keys; and waiting after failures."""

from funclet.core.backoff import Backoff
from funclet.core.demand import Demand, DemandBook
from funclet.core.fairness import FairQueue
from funclet.core.messages import DemandReport, FunctionDemand, InstanceUse
from funclet.core.retries import Retries


def _book(**demands: FunctionDemand) -> DemandBook:
    book = DemandBook()
    for reporter, demand in demands.items():
        book.enter(DemandReport(reporter=reporter, functions={"a/f": demand}), now=0.0)
    return book


def test_reporters_are_summed_up() -> None:
    book = _book(
        one=FunctionDemand(queued=2, in_flight=3, service_ms=100),
        two=FunctionDemand(queued=1, in_flight=1, service_ms=500),
        events=FunctionDemand(backlog=7),
    )
    assert book.demand("a/f", 1.0) == Demand(queued=3, in_flight=4, backlog=7, service_seconds=0.2)
    assert book.demand("a/unknown", 1.0) == Demand()


def test_a_backlog_that_two_events_processes_see_is_there_once() -> None:
    book = _book(one=FunctionDemand(backlog=7), two=FunctionDemand(backlog=5), gateway=FunctionDemand(queued=2))
    assert book.demand("a/f", 1.0) == Demand(queued=2, backlog=7)


def test_one_unreadable_source_makes_the_backlog_unknown() -> None:
    book = _book(one=FunctionDemand(backlog=3), two=FunctionDemand(backlog=None))
    assert book.demand("a/f", 1.0).backlog is None
    assert not book.demand("a/f", 1.0).is_zero


def test_a_silent_reporter_is_unknown_then_forgotten() -> None:
    book = _book(one=FunctionDemand(queued=2))
    assert book.demand("a/f", 10.0).certain
    assert book.demand("a/f", 10.1) == Demand(queued=2, certain=False)
    assert book.forget_silent(60.0) == []
    assert book.forget_silent(60.1) == ["a/f"]
    assert book.demand("a/f", 60.1) == Demand()


def test_a_sign_of_life_keeps_the_last_word() -> None:
    book = _book(one=FunctionDemand(queued=2))
    book.enter(DemandReport(reporter="one"), now=100.0)
    assert book.demand("a/f", 105.0) == Demand(queued=2)


def test_an_instance_is_as_idle_as_its_least_idle_reporter_says() -> None:
    book = _book(
        one=FunctionDemand(instances={"i": InstanceUse(busy=0, idle_seconds=50), "j": InstanceUse(busy=1)}),
        two=FunctionDemand(instances={"i": InstanceUse(busy=0, idle_seconds=20)}),
    )
    assert book.idle_seconds("a/f", "i", ready_at=-100.0, now=5.0) == 25.0
    assert book.idle_seconds("a/f", "j", ready_at=-100.0, now=5.0) == 0.0
    assert book.idle_seconds("a/f", "k", ready_at=-100.0, now=5.0) == 105.0


def test_a_forgotten_function_leaves_no_word() -> None:
    book = _book(one=FunctionDemand(queued=2))
    book.forget_function("a/f")
    assert book.demand("a/f", 1.0) == Demand()
    assert list(book.functions) == []


def test_keys_take_turns_and_urgent_lanes_come_first() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "a3", "b1"):
        queue.push(item[0], item, lane=1)
    queue.push("c", "c1", lane=0)
    assert [queue.pop() for _ in range(6)] == ["c1", "a1", "b1", "a2", "a3", None]


def test_failures_wait_longer_each_time_and_are_forgiven() -> None:
    retries = Retries(Backoff(base_seconds=1.0, cap_seconds=4.0))
    assert [retries.fail("k", 0.0) for _ in range(2)] == [1, 2]
    assert retries.wait_seconds("k", 0.5) == 1.5
    assert retries.wait_seconds("k", 9.0) == 0.0
    assert retries.fail("k", 100.0) == 1
    retries.succeed("k")
    assert retries.wait_seconds("k", 100.0) == 0.0
