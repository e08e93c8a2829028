"""Running other programs, and telling a person what takes how long."""

from __future__ import annotations

import contextlib
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path


class ClusterError(Exception):
    """Something that the person at the command line must know; its text is all they are shown."""


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """One line a step: what is being done, then the seconds that it took."""
    print(f"{title} …", end="", flush=True)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print(f" failed after {time.monotonic() - start:.1f} s", flush=True)
        raise
    print(f" {time.monotonic() - start:.1f} s", flush=True)


def run(
    argv: Sequence[str | Path],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Runs a program to its end and returns what it printed; ClusterError with its last lines if it failed."""
    try:
        finished = subprocess.run(
            [str(part) for part in argv],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise ClusterError(
            f"{error.filename} is not on this machine: cluster.py doctor tells what is missing"
        ) from error
    if finished.returncode != 0:
        told = "\n".join((finished.stdout + finished.stderr).strip().splitlines()[-25:])
        raise ClusterError(f"{' '.join(map(str, argv))}\nended with {finished.returncode}:\n{told}")
    return finished.stdout


def succeeds(argv: Sequence[str | Path], *, timeout_seconds: float = 20) -> bool:
    """Whether the program is there and ends with 0."""
    try:
        finished = subprocess.run(
            [str(part) for part in argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return finished.returncode == 0


def wait_until(condition: Callable[[], bool], *, timeout_seconds: float, what: str, poll_seconds: float = 0.1) -> None:
    """Polls until the condition holds; ClusterError naming what was waited for when it does not."""
    end = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > end:
            raise ClusterError(f"after {timeout_seconds:.0f} s still waiting for {what}")
        time.sleep(poll_seconds)
