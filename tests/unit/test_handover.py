"""When a connection moves: the homes of its calls in, the places where it is handed over out."""

import pytest

from funclet.core.handover import MOST_PATIENCE, NO_ROW, is_due, lengthen


def moves_of(homes: str, here: str = "a") -> list[tuple[int, str]]:
    """After how many calls a connection that begins at `here` goes where. `*`: a home on another machine."""
    moves: list[tuple[int, str]] = []
    row = NO_ROW
    for count, home in enumerate(homes, 1):
        if home == "*":
            continue
        row = NO_ROW if home == here else lengthen(row, home)
        if is_due(row, len(moves)):
            moves.append((count, home))
            here, row = home, NO_ROW
    return moves


@pytest.mark.parametrize(
    ("homes", "moves"),
    [
        ("", []),
        ("aaaa", []),
        ("b", []),
        ("bb", [(2, "b")]),
        ("abbb", [(3, "b")]),
        ("bbbbbb", [(2, "b")]),
        ("babababa", []),
        ("bcbcbcbc", []),
        ("bccc", [(3, "c")]),
        ("****", []),
        ("b*b", [(3, "b")]),
        ("bbaaa", [(2, "b")]),
        ("bbaaaa", [(2, "b"), (6, "a")]),
        ("bbaaaabbbbbbb", [(2, "b"), (6, "a")]),
        ("bbaaaabbbbbbbb", [(2, "b"), (6, "a"), (14, "b")]),
        ("bb" + "aabb" * 100, [(2, "b")]),
    ],
)
def test_a_connection_follows_a_row_of_calls(homes: str, moves: list[tuple[int, str]]) -> None:
    assert moves_of(homes) == moves


def test_the_worst_caller_moves_ever_more_seldom() -> None:
    """Whoever always calls for the other side as soon as the connection has moved has it moved for a price."""
    homes, here = "", "a"
    for _ in range(4096):
        homes += "b" if here == "a" else "a"
        here = (moves_of(homes) or [(0, "a")])[-1][1] if len(homes) in {2, 6, 14, 30, 62, 126} else here
    counts = [count for count, _ in moves_of(homes)]
    assert counts[:6] == [2, 6, 14, 30, 62, 126]
    assert len(moves_of(homes)) <= 12


def test_patience_has_an_end() -> None:
    row = NO_ROW
    for _ in range(MOST_PATIENCE):
        assert not is_due(row, moves=10_000)
        row = lengthen(row, "b")
    assert is_due(row, moves=10_000)
