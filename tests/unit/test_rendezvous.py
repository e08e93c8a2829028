"""Rendezvous hashing: one home for each key, even shares, and no key moves that need not."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from funclet.core.rendezvous import find_home

NAMES = st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=8)
KEYS = [f"default/function-{number}" for number in range(3000)]


@given(st.text(), NAMES)
def test_the_home_is_a_member_whatever_the_order(key: str, members: set[str]) -> None:
    home = find_home(key, members)
    assert home in members
    assert home == find_home(key, sorted(members)) == find_home(key, sorted(members, reverse=True))


@given(st.text(), NAMES, st.text(min_size=1, max_size=8))
def test_a_key_moves_only_to_a_member_that_comes(key: str, members: set[str], newcomer: str) -> None:
    assert find_home(key, members | {newcomer}) in (find_home(key, members), newcomer)


@given(st.text(), NAMES, st.data())
def test_a_key_moves_only_from_a_member_that_goes(key: str, members: set[str], data: st.DataObject) -> None:
    leaver = data.draw(st.sampled_from(sorted(members)))
    home = find_home(key, members)
    if home != leaver:
        assert find_home(key, members - {leaver}) == home


def test_nobody_is_home_where_nobody_is() -> None:
    assert find_home("default/hello", []) is None


def test_shares_are_even_before_and_after_a_member_has_gone() -> None:
    members = [f"gateway-{number}" for number in range(4)]
    before = {key: find_home(key, members) for key in KEYS}
    assert all(0.85 < count * 4 / len(KEYS) < 1.15 for count in Counter(before.values()).values())
    moved = Counter(find_home(key, members[1:]) for key, home in before.items() if home == members[0])
    assert all(0.75 < count * 3 / moved.total() < 1.25 for count in moved.values())
