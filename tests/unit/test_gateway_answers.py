"""Answers of instances: the usual one is read by a pattern, all others piece by piece, with the same result."""

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.gateway.answers import (
    BODY_LIMIT_BYTES,
    STREAM_LIMIT_BYTES,
    AnswerError,
    AnswerReader,
)
from funclet.gateway.call import InstanceAnswer
from funclet.gateway.usual_answer import find_usual_answer

USUAL = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nx-funclet-duration-us: 41\r\n"
    b"x-funclet-max-memory-mib: 12\r\n\r\n{}"
)
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def read(data: bytes, cuts: list[int] | None = None) -> AnswerReader:
    """A reader that was fed these bytes, in one piece or cut up."""
    reader = AnswerReader()
    borders = [0, *sorted(cut % (len(data) + 1) for cut in cuts or []), len(data)]
    for start, end in itertools.pairwise(borders):
        reader.feed(data[start:end])
    return reader


def test_both_ways_read_the_same() -> None:
    assert find_usual_answer(USUAL) == read(USUAL).answer() == InstanceAnswer(b"{}", duration_us=41)


@pytest.mark.parametrize("size", range(len(USUAL)))
def test_a_part_of_an_answer_is_none_yet(size: int) -> None:
    assert find_usual_answer(USUAL[:size]) is None
    assert not read(USUAL[:size]).done


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=300), max_size=6), cuts=st.lists(st.integers(0, 3000), max_size=9)
)
def test_a_stream_is_read_however_it_is_cut(pieces: list[bytes], cuts: list[int]) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    reader = read(STREAM + chunks + b"0\r\nx-funclet-duration-us: 7\r\nx-amz-log-result: QQ==\r\n\r\n", cuts)
    assert reader.done
    assert reader.chunked
    assert b"".join(reader.take()) == b"".join(pieces)
    assert reader.answer() == InstanceAnswer(b"", duration_us=7, log_result="QQ==")


def test_a_stream_that_failed_says_so_in_its_trailers() -> None:
    error = base64.b64encode(b'{"errorType": "KeyError"}')
    trailers = b"lambda-runtime-function-error-type: KeyError\r\nlambda-runtime-function-error-body: %b\r\n" % error
    reader = read(STREAM + b"0\r\n" + trailers + b"\r\n")
    assert reader.answer() == InstanceAnswer(b'{"errorType": "KeyError"}', error="Unhandled")


GARBAGE = {
    "more than an answer": USUAL + b"x",
    "another status": USUAL.replace(b"200 OK", b"500 No"),
    "another protocol": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "no length": b"HTTP/1.1 200 OK\r\n\r\n",
    "a length that is none": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n1",
    "length and chunks": STREAM.replace(b"\r\n\r\n", b"\r\ncontent-length: 1\r\n\r\n"),
    "an unknown coding": STREAM.replace(b"chunked", b"gzip, chunked"),
    "too long": b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (BODY_LIMIT_BYTES + 1),
    "no colon": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nnonsense\r\n\r\n1",
    "an endless head": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000,
    "a chunk's size that is none": STREAM + b"-1\r\n",
    "an empty chunk's size": STREAM + b"\r\n",
    "an endless chunk's size": STREAM + b"0" * 20,
    "a chunk extension": STREAM + b"1;a=b\r\n1\r\n0\r\n\r\n",
    "a chunk that is longer": STREAM + b"1\r\n12\r\n0\r\n\r\n",
    "a stream that is too long": STREAM + b"%x\r\n" % (STREAM_LIMIT_BYTES + 1),
    "endless trailers": STREAM + b"0\r\n" + b"a: b\r\n" * 20_000,
    "more than a stream": STREAM + b"0\r\n\r\nx",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_an_error(name: str) -> None:
    with pytest.raises(AnswerError):
        read(GARBAGE[name])
