"""What a handler's generator may yield, and how much."""

from collections.abc import Iterator

import pytest

from funclet_agent.marshalling import MarshalError
from funclet_agent.streaming import MAX_STREAM_BYTES, read_pieces, send_pieces


def test_pieces_become_bytes_and_empty_ones_are_left_out() -> None:
    pieces = iter(["ü", b"", bytearray(b"b"), "", memoryview(b"c")])
    assert [data for _, data in read_pieces(pieces, 10)] == ["ü".encode(), b"b", b"c"]


@pytest.mark.parametrize("piece", [7, None, ["a"], {"not": "first"}])
def test_anything_else_is_an_error(piece: object) -> None:
    with pytest.raises(MarshalError, match="yields bytes or str, not"):
        list(read_pieces(iter([b"first", piece]), 10))


def test_a_stream_ends_at_two_hundred_mebibytes() -> None:
    told: list[str] = []

    def generator() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(1024 * 1024)
        finally:
            told.append("closed")

    sent = 0

    def send(data: bytes) -> bool:
        nonlocal sent
        sent += len(data)
        return True

    with pytest.raises(MarshalError) as error:
        send_pieces(generator(), send)
    assert error.value.failure["errorType"] == "Function.ResponseSizeTooLarge"
    assert MAX_STREAM_BYTES <= sent < MAX_STREAM_BYTES + 100_000
    assert told == ["closed"]
