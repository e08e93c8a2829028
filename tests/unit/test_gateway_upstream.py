"""Answers of instances: the usual one is read by a pattern, others header by header, with the same result."""

import pytest

from funclet.gateway.call import InstanceAnswer
from funclet.gateway.upstream import AnswerError, parse_answer

USUAL = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nx-funclet-duration-us: 41\r\n"
    b"x-funclet-max-memory-mib: 12\r\n\r\n{}"
)


def test_both_ways_read_the_same() -> None:
    shuffled = USUAL.replace(b"content-type: application/json\r\n", b"")
    assert parse_answer(USUAL) == parse_answer(shuffled) == InstanceAnswer(b"{}", duration_us=41)


@pytest.mark.parametrize("size", range(len(USUAL)))
def test_a_part_of_an_answer_is_none_yet(size: int) -> None:
    assert parse_answer(USUAL[:size]) is None


def test_more_than_an_answer_is_an_error() -> None:
    with pytest.raises(AnswerError):
        parse_answer(USUAL + b"x")
