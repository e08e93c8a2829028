"""Runs one benchmark in a process of its own, so that none disturbs the next: python -m benchmarks.one NAME FILE."""

import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from benchmarks.figure import Benchmark, Figure, Unmeasured, to_json
from benchmarks.suite import chosen


def run(benchmark: Benchmark) -> list[Figure]:
    """Its figures; without a value where it failed, and why."""
    try:
        measured = within(benchmark.limit_seconds, benchmark)
    except Unmeasured as error:
        return unmeasured(benchmark, str(error))
    except Exception as error:
        logging.exception("%s failed", benchmark.name)
        return unmeasured(benchmark, f"failed: {type(error).__name__}: {error}")
    return measured


def within(seconds: int, benchmark: Benchmark) -> list[Figure]:
    """Measures; an exception at the deadline, or when it is to end, lets the benchmark clean up after itself."""

    def give_up(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Unmeasured(f"took more than {seconds} s" if number == signal.SIGALRM else "was interrupted")

    before = {number: signal.signal(number, give_up) for number in (signal.SIGALRM, signal.SIGTERM)}
    signal.alarm(seconds)
    try:
        measured = benchmark.measure()
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)
    return list(measured) if isinstance(measured, Sequence) else [measured]


def unmeasured(benchmark: Benchmark, why: str) -> list[Figure]:
    """The figures that there should have been."""
    return [Figure(name, None, "", why=why) for name in benchmark.figures]


def main(name: str, file: str) -> None:
    """Measure and write."""
    [benchmark] = chosen(name)
    Path(file).write_text(json.dumps([to_json(figure) for figure in run(benchmark)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
