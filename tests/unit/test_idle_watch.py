"""What a keep-alive policy hears, from what gateways report of instances."""

from funclet.core.demand import DemandBook
from funclet.core.idle_watch import IdleWatch, Reading
from funclet.core.keep_alive import FixedKeepAlive
from funclet.core.messages import DemandReport, FunctionDemand, InstanceUse

NOW = 1000.0


class Heard(FixedKeepAlive):
    """Notes all that it is told."""

    def __init__(self) -> None:
        super().__init__(60)
        self.events: list[tuple[str, float, int | None]] = []

    def used_again(self, gap_seconds: float, level: int) -> None:
        self.events.append(("used again", gap_seconds, level))

    def first_used(self, now: float, level: int) -> None:
        self.events.append(("first used", now, level))

    def departed(self, idle_since: float) -> None:
        self.events.append(("departed", idle_since, None))


def watched() -> tuple[IdleWatch, Heard]:
    heard = Heard()
    return IdleWatch(heard), heard


def test_the_first_use_is_told_however_short_it_was() -> None:
    watch, heard = watched()
    watch.read([Reading("a", 0.01, uses=0)], NOW)
    assert watch.used_count == 0
    watch.read([Reading("a", 0.05, uses=1)], NOW + 0.1)
    assert heard.events == [("first used", NOW + 0.1, 1)]
    assert watch.used_count == 1


def test_a_use_after_a_while_is_told_with_its_gap() -> None:
    watch, heard = watched()
    watch.read([Reading("a", 1.0, uses=1)], NOW)
    watch.read([Reading("a", 11.0, uses=1)], NOW + 10)
    watch.read([Reading("a", 0.0, uses=2)], NOW + 20)
    assert heard.events[1:] == [("used again", 21.0, 1)]


def test_a_use_between_two_readings_is_seen_by_its_count() -> None:
    watch, heard = watched()
    watch.read([Reading("a", 5.0, uses=3)], NOW)
    watch.read([Reading("a", 0.25, uses=4)], NOW + 10)
    assert heard.events[1:] == [("used again", 14.75, 1)]


def test_a_busy_instance_that_goes_on_being_used_has_no_gap() -> None:
    watch, heard = watched()
    watch.read([Reading("a", 0.0, uses=1)], NOW)
    watch.read([Reading("a", 0.0, uses=50)], NOW + 10)
    watch.read([Reading("a", 1.0, uses=60)], NOW + 20)
    assert [event for event, _, _ in heard.events] == ["first used"]


def test_the_level_is_how_many_are_busy() -> None:
    watch, heard = watched()
    watch.read([Reading("a", 0.0, uses=1), Reading("b", 30.0, uses=1), Reading("c", 40.0, uses=1)], NOW)
    watch.read([Reading("a", 0.0, uses=1), Reading("b", 0.0, uses=2), Reading("c", 41.0, uses=1)], NOW + 1)
    assert heard.events[-1] == ("used again", 31.0, 2)


def test_one_that_is_gone_was_used_until_it_became_idle() -> None:
    watch, heard = watched()
    watch.read([Reading("a", 5.0, uses=1), Reading("new", 5.0, uses=0)], NOW)
    watch.read([], NOW + 60)
    assert heard.events[1:] == [("departed", NOW - 5, None)]
    assert watch.used_count == 0


def test_a_gateway_that_has_begun_anew_is_no_use() -> None:
    watch, heard = watched()
    watch.read([Reading("a", 30.0, uses=9)], NOW)
    watch.read([Reading("a", 0.5, uses=0)], NOW + 1)
    assert [event for event, _, _ in heard.events] == ["first used"]
    watch.read([Reading("a", 0.0, uses=1)], NOW + 9)
    assert heard.events[-1] == ("used again", 8.5, 1)


def test_all_gateways_count() -> None:
    book = DemandBook()
    for reporter, uses in (("one", 2), ("two", 3)):
        demand = FunctionDemand(instances={"i": InstanceUse(busy=0, uses=uses)})
        book.enter(DemandReport(reporter=reporter, functions={"a/f": demand}), NOW)
    assert book.uses("a/f", "i") == 5
    assert book.uses("a/f", "j") == book.uses("a/g", "i") == 0
