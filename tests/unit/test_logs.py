"""Lines of the log: how many writes they take, and that none is lost."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from funclet.adapters.logs import GatheringHandler, JsonLines


class Pipe(io.StringIO):
    """Keeps each write apart."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.written = asyncio.Event()

    def write(self, text: str, /) -> int:
        if text:
            self.writes.append(text)
            self.written.set()
        return len(text)

    @property
    def messages(self) -> list[list[str]]:
        """By write."""
        return [[json.loads(line)["message"] for line in text.splitlines()] for text in self.writes]


@pytest.fixture
def pipe() -> Pipe:
    return Pipe()


@pytest.fixture
def log(pipe: Pipe) -> Iterator[logging.Logger]:
    handler = GatheringHandler(pipe)
    handler.setFormatter(JsonLines("test"))
    logger = logging.Logger("funclet.test")
    logger.addHandler(handler)
    yield logger
    handler.close()


async def test_the_lines_of_a_moment_are_one_write(pipe: Pipe, log: logging.Logger) -> None:
    for turn in ("a", "b"):
        pipe.written.clear()
        log.info("%s1", turn)
        log.info("%s2", turn)
        await pipe.written.wait()
    assert pipe.messages == [["a1", "a2"], ["b1", "b2"]]


async def test_a_warning_waits_for_nothing_and_comes_in_its_order(pipe: Pipe, log: logging.Logger) -> None:
    log.info("before")
    log.warning("now")
    assert pipe.messages == [["before", "now"]]
    pipe.written.clear()
    log.info("after")
    await pipe.written.wait()
    assert pipe.messages == [["before", "now"], ["after"]]


def test_without_a_loop_each_line_is_written_at_once(pipe: Pipe, log: logging.Logger) -> None:
    log.info("a")
    log.info("b")
    assert pipe.messages == [["a"], ["b"]]


def test_what_a_loop_left_is_written_at_the_end_of_the_process(pipe: Pipe, log: logging.Logger) -> None:
    async def speak() -> None:
        log.info("last word")

    asyncio.run(speak())
    assert pipe.messages == []
    for handler in log.handlers:
        handler.flush()  # what logging.shutdown does
    assert pipe.messages == [["last word"]]


async def test_a_line_that_cannot_be_made_takes_no_other_with_it(
    pipe: Pipe, log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log.info("%d", "no number")
    log.info("fine")
    await pipe.written.wait()
    assert pipe.messages == [["fine"]]
