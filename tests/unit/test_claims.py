"""Whose turn it is for the next instance of a pool."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from funclet.core.claims import ClaimQueue

POOL, OTHER = ("default", "python3.13"), ("default", "python3.12")


def _take_all(queue: ClaimQueue, instances: int, *pools: tuple[str, str]) -> list[str]:
    """Who gets so many instances of these pools, one after the other."""
    taken = (queue.take(lambda pool: pool in (pools or (POOL,))) for _ in range(instances))
    return [key for key in taken if key is not None]


def test_who_waits_for_many_gets_one_a_round() -> None:
    queue = ClaimQueue()
    queue.want("burst", POOL, 5)
    queue.want("single", POOL, 1)
    queue.want("pair", POOL, 2)
    assert _take_all(queue, 9) == ["burst", "single", "pair", "burst", "pair", "burst", "burst", "burst"]
    assert queue.pools == []


def test_who_begins_to_wait_comes_before_the_next_round_of_the_others() -> None:
    queue = ClaimQueue()
    queue.want("burst", POOL, 5)
    assert _take_all(queue, 2) == ["burst", "burst"]
    queue.want("late", POOL, 1)
    assert _take_all(queue, 2) == ["burst", "late"]


def test_asking_again_costs_nobody_his_turn() -> None:
    queue = ClaimQueue()
    queue.want("a", POOL, 1)
    queue.want("b", POOL, 1)
    queue.want("a", POOL, 3)
    assert _take_all(queue, 4) == ["a", "b", "a", "a"]


def test_an_empty_pool_holds_up_no_other() -> None:
    queue = ClaimQueue()
    queue.want("a", POOL, 2)
    queue.want("b", OTHER, 1)
    assert _take_all(queue, 2, OTHER) == ["b"]
    assert _take_all(queue, 3, POOL, OTHER) == ["a", "a"]


def test_a_function_waits_in_one_pool() -> None:
    queue = ClaimQueue()
    queue.want("a", POOL, 2)
    queue.want("a", OTHER, 1)
    assert (queue.waiting_for(POOL), queue.waiting_for(OTHER), queue.count("a")) == (0, 1, 1)


def test_who_needs_nothing_any_more_takes_nothing() -> None:
    queue = ClaimQueue()
    queue.want("a", POOL, 2)
    queue.want("b", POOL, 2)
    queue.want("a", POOL, 0)
    queue.drop("b")
    queue.drop("never there")
    assert _take_all(queue, 1) == []
    assert queue.count("a") == queue.count("b") == 0


WANTS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9), min_size=1)


@given(WANTS, st.integers(0, 60))
def test_no_two_that_wait_are_ever_more_than_one_apart(wants: dict[str, int], instances: int) -> None:
    queue = ClaimQueue()
    for key, count in wants.items():
        queue.want(key, POOL, count)
    given_to = Counter(_take_all(queue, instances))
    assert given_to.total() == min(instances, sum(wants.values()))
    least = min((given_to[key] for key in wants if given_to[key] < wants[key]), default=None)
    if least is not None:
        assert max(given_to.values(), default=0) <= least + 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("want"), st.sampled_from("abc"), st.sampled_from([POOL, OTHER]), st.integers(0, 4)),
        st.tuples(st.just("drop"), st.sampled_from("abc"), st.just(POOL), st.just(0)),
        st.tuples(st.just("take"), st.just(""), st.sampled_from([POOL, OTHER]), st.just(0)),
    )
)


@given(STEPS)
def test_the_totals_are_those_of_the_lines(steps: list[tuple[str, str, tuple[str, str], int]]) -> None:
    queue, model = ClaimQueue(), Counter[str]()
    for step, key, pool, count in steps:
        if step == "want":
            queue.want(key, pool, count)
            model[key] = count
        elif step == "drop":
            queue.drop(key)
            model[key] = 0
        elif (taker := _take_all(queue, 1, pool)) != []:
            model[taker[0]] -= 1
    assert {key: queue.count(key) for key in "abc"} == {key: model[key] for key in "abc"}
    for pool in (POOL, OTHER):
        assert queue.waiting_for(pool) == sum(map(queue.count, queue.functions(pool)))
    assert set(queue.pools) == {pool for pool in (POOL, OTHER) if queue.waiting_for(pool)}
