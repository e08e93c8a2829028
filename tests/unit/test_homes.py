"""Homes of functions: everybody agrees, and nobody books what another may still use."""

from collections.abc import Iterable

from funclet.core.homes import GONE_SECONDS, SETTLE_SECONDS, Homes
from funclet.core.messages import Peer, Peers

KEYS = [f"default/f{number}" for number in range(200)]


def peers(epoch: int, names: str, leaving: str = "") -> Peers:
    return Peers(
        epoch=epoch, peers=[Peer(id=f"{n}#1", host="10.0.0.1", port=8082, leaving=n in leaving) for n in names]
    )


def following(name: str, *lists: Peers) -> Homes:
    """A gateway that has followed these lists, and has heard that all others do."""
    homes = Homes(f"{name}#1")
    for message in lists:
        homes.apply(message, 0)
        for other in homes.others:
            homes.hear(other, message.epoch)
    return homes


def of(homes: Homes, name: str, now: float = 0) -> list[str]:
    return [key for key in KEYS if homes.home(key, now) == f"{name}#1"]


def settled(homes: Homes, keys: Iterable[str], now: float = 0) -> set[bool]:
    return {homes.is_settled(key, now) for key in keys}


def test_without_a_list_a_gateway_is_the_home_of_all() -> None:
    homes = Homes("a#1")
    assert of(homes, "a") == KEYS
    assert settled(homes, KEYS) == {True}


def test_all_who_follow_a_list_agree() -> None:
    a, b = following("a", peers(1, "ab")), following("b", peers(1, "ab"))
    assert of(a, "a") == of(b, "a")
    assert of(a, "b") == of(b, "b")
    assert len(of(a, "a")) + len(of(a, "b")) == len(KEYS)


def test_an_old_list_changes_nothing() -> None:
    a = following("a", peers(2, "ab"))
    assert a.apply(peers(2, "a"), 0) == set()
    assert a.apply(peers(1, "a"), 0) == set()
    assert of(a, "b")


def test_one_that_leaves_is_nobodys_home() -> None:
    a = following("a", peers(1, "ab"), peers(2, "ab", leaving="b"))
    assert of(a, "a") == KEYS
    b = following("b", peers(1, "ab"), peers(2, "ab", leaving="b"))
    assert of(b, "a") == KEYS


def test_when_all_leave_each_serves_its_own_callers() -> None:
    a = following("a", peers(1, "ab"), peers(2, "ab", leaving="ab"))
    assert of(a, "a") == KEYS


def test_one_that_is_not_on_the_list_is_nobodys_home() -> None:
    c = following("c", peers(1, "ab"))
    assert of(c, "c") == []


def test_who_is_lost_is_told() -> None:
    a = following("a", peers(1, "abc"))
    assert a.apply(peers(2, "ac"), 0) == {"b#1"}


def test_functions_that_come_are_settled_when_all_have_spoken() -> None:
    a = following("a", peers(1, "abc"))
    mine = of(a, "a")
    a.apply(peers(2, "abc", leaving="b"), 10)
    new = set(of(a, "a", 10)) - set(mine)
    assert new
    assert settled(a, mine, 10) == {True}
    assert settled(a, new, 10) == {False}
    a.hear("b#1", 2)
    a.hear("c#1", 1)
    assert settled(a, new, 10) == {False}
    a.hear("c#1", 2)
    assert settled(a, new, 10) == {True}


def test_who_does_not_speak_is_not_waited_for_long() -> None:
    a = following("a", peers(1, "ab"))
    a.apply(peers(2, "ab", leaving="b"), 10)
    assert settled(a, KEYS, 10) == {True, False}
    assert settled(a, KEYS, 10 + SETTLE_SECONDS) == {True}


def test_a_gateway_that_leaves_knows_when_all_others_follow_the_list_without_it() -> None:
    a = following("a", peers(1, "abc"))
    a.apply(peers(2, "abc", leaving="a"), 0)
    a.hear("b#1", 2)
    assert not a.all_follow
    a.hear("c#1", 2)
    assert a.all_follow


def test_two_lists_in_quick_succession_do_not_make_the_first_settled() -> None:
    a = following("a", peers(1, "abc"))
    mine = of(a, "a")
    a.apply(peers(2, "abc", leaving="b"), 10)
    new = set(of(a, "a", 10)) - set(mine)
    a.apply(peers(3, "abcd", leaving="b"), 10)
    still_new = new & set(of(a, "a", 10))
    assert settled(a, still_new, 10) == {False}
    assert settled(a, set(mine) & set(of(a, "a", 10)), 10) == {True}


def test_who_has_spoken_ahead_of_the_list_is_not_waited_for() -> None:
    a = following("a", peers(1, "ab"))
    a.hear("b#1", 2)
    a.apply(peers(2, "ab", leaving="b"), 10)
    assert settled(a, KEYS, 10) == {True}


def test_a_gateway_that_starts_among_others_waits_for_them() -> None:
    c = Homes("c#1")
    c.apply(peers(7, "abc"), 0)
    assert settled(c, of(c, "c")) == {False}
    c.hear("a#1", 7)
    c.hear("b#1", 7)
    assert settled(c, of(c, "c")) == {True}


def test_one_that_refuses_connections_is_passed_over_for_a_while() -> None:
    a = following("a", peers(1, "abc"))
    of_b = of(a, "b")
    of_c = of(a, "c")
    a.pass_over("b#1", 10)
    assert of(a, "b", 10) == []
    assert set(of_c) < set(of(a, "c", 10))
    assert a.passed_over == ["b#1"]
    assert of(a, "b", 10 + GONE_SECONDS) == of_b


def test_a_new_list_brings_it_back() -> None:
    a = following("a", peers(1, "abc"))
    a.pass_over("b#1", 10)
    a.apply(peers(2, "abc"), 10)
    assert of(a, "b", 10)


def test_the_last_one_that_can_be_reached_is_this_one() -> None:
    b = following("b", peers(1, "ab"), peers(2, "ab", leaving="b"))
    b.pass_over("a#1", 10)
    assert of(b, "b", 10) == KEYS
