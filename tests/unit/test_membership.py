"""Who is on the list of gateways, and when it changes."""

from funclet.core.membership import COMEBACK_SECONDS, LOOK_SECONDS, SILENT_SECONDS, Membership
from funclet.core.messages import Introduction, Peer


def introduction(name: str, knows: Membership | None = None) -> Introduction:
    known = knows.message if knows else None
    return Introduction(
        id=f"{name}#1", port=8082, epoch=known.epoch if known else 0, peers=known.peers if known else []
    )


def names(membership: Membership) -> list[str]:
    return [peer.reporter for peer in membership.message.peers]


def two() -> Membership:
    membership = Membership()
    assert membership.join(introduction("a"), "10.0.0.1", 0)
    assert membership.join(introduction("b"), "10.0.0.2", 0)
    return membership


def test_gateways_are_listed_from_their_introduction_to_the_end_of_their_feed() -> None:
    membership = two()
    before = membership.message
    assert before.peers == [
        Peer(id="a#1", host="10.0.0.1", port=8082),
        Peer(id="b#1", host="10.0.0.2", port=8082),
    ]
    assert membership.leave("a#1")
    assert names(membership) == ["b"]
    assert membership.message.epoch > before.epoch


def test_a_second_feed_of_the_same_gateway_changes_nothing() -> None:
    membership = two()
    assert not membership.join(introduction("a", membership), "10.0.0.1", 1)
    assert not membership.leave("a#1")
    assert names(membership) == ["a", "b"]


def test_one_that_is_silent_is_left_out_until_it_speaks() -> None:
    membership = two()
    assert not membership.hear("a", SILENT_SECONDS, leaving=False)
    assert membership.expire(SILENT_SECONDS + 0.1)
    assert names(membership) == ["a"]
    assert not membership.expire(SILENT_SECONDS + 0.2)
    assert membership.hear("b", SILENT_SECONDS + 0.3, leaving=False)
    assert names(membership) == ["a", "b"]


def test_a_scaler_that_stood_still_calls_nobody_silent() -> None:
    membership = two()
    assert not membership.expire(LOOK_SECONDS)
    now = LOOK_SECONDS + 2 * SILENT_SECONDS
    assert not membership.expire(now)
    assert not membership.hear("a", now, leaving=False)
    while not membership.expire(now):
        now += LOOK_SECONDS / 2
    assert names(membership) == ["a"]
    assert now < LOOK_SECONDS + 3 * SILENT_SECONDS


def test_one_that_leaves_is_listed_as_leaving_until_it_has_left() -> None:
    membership = two()
    assert membership.hear("a", 1, leaving=True)
    assert [peer.leaving for peer in membership.message.peers] == [True, False]
    assert not membership.hear("a", 2, leaving=True)


def test_a_late_farewell_of_a_process_is_not_its_successors() -> None:
    membership = two()
    assert membership.join(Introduction(id="a#2", port=8083), "10.0.0.1", 1)
    assert membership.hear("a", 2, leaving=True, peer="a#1")
    assert [peer.id for peer in membership.message.peers if peer.leaving] == ["a#1"]
    membership.leave("a#1")
    assert not membership.hear("a", 3, leaving=True, peer="a#1")
    assert not any(peer.leaving for peer in membership.message.peers)


def test_one_that_does_not_say_which_process_it_is_is_known_by_its_name() -> None:
    membership = two()
    assert membership.hear("a", 1, leaving=True, peer=None)
    assert [peer.id for peer in membership.message.peers if peer.leaving] == ["a#1"]


def test_who_is_no_gateway_changes_nothing() -> None:
    membership = two()
    assert not membership.hear("events", 1, leaving=False)
    assert not membership.leave("events#1")


def test_a_restarted_scaler_goes_on_from_what_the_gateways_know() -> None:
    before = two()
    restarted = Membership()
    assert not restarted.join(introduction("b", before), "10.0.0.2", 100)
    assert restarted.message == before.message
    assert not restarted.join(introduction("a", before), "10.0.0.1", 101)
    assert not restarted.expire(100 + SILENT_SECONDS)
    assert restarted.message == before.message


def test_a_newcomer_that_is_faster_than_the_others_is_told_of_and_to_them() -> None:
    before = two()
    restarted = Membership()
    assert restarted.join(introduction("c"), "10.0.0.3", 100)
    assert restarted.join(introduction("b", before), "10.0.0.2", 100)
    assert names(restarted) == ["a", "b", "c"]
    assert restarted.message.epoch > before.message.epoch


def test_one_that_does_not_come_back_is_left_out() -> None:
    before = two()
    restarted = Membership()
    restarted.join(introduction("b", before), "10.0.0.2", 100)
    restarted.hear("b", 100 + COMEBACK_SECONDS, leaving=False)
    assert restarted.expire(100.1 + COMEBACK_SECONDS)
    assert names(restarted) == ["b"]
    assert restarted.message.epoch > before.message.epoch


def test_an_old_list_brings_nobody_back() -> None:
    membership = two()
    old = introduction("b", membership)
    membership.leave("a#1")
    membership.leave("b#1")
    assert membership.join(old, "10.0.0.2", 5)
    assert names(membership) == ["b"]
