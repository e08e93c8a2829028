"""How much memory a function may have, and how much a handler process has with all that it started."""

from funclet_agent.birth import descendants

LOOK_NS = 100_000_000
"""How often the agent looks while an invocation runs."""


def proportional_mib(pid: int) -> int:
    """MiB of a process and its descendants; a page that several share counts once, in parts (PSS)."""
    return sum(_proportional_kib(each) for each in (pid, *descendants(pid, ()))) // 1024


def _proportional_kib(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(b"Pss:")), 0)
    except OSError:
        # It has just ended, or this is not Linux.
        return 0


NO_LIMIT_BYTES = 1 << 60
"""cgroup v1 says "no limit" with a number beyond it."""


class MemoryLimit:
    """The limit that the kernel enforces on this instance. A generic instance gets its function's size by an in-place
    resize, which the node carries out some time after the code is here: it may still be smaller, or larger.
    """

    def __init__(self, files: list[str]) -> None:
        self._files = files

    def is_at_least(self, memory_mib: int) -> bool:
        """Whether a function may count on so much; also where no limit is known."""
        limit = self._read()
        return limit is None or limit >= memory_mib << 20

    def is_above(self, memory_mib: int) -> bool:
        """Whether a function could take more than that, so that somebody else must watch."""
        limit = self._read()
        return limit is not None and limit > memory_mib << 20

    def _read(self) -> int | None:
        """Bytes; None: there is none, or none to be read."""
        for name in self._files:
            try:
                with open(name, "rb") as file:
                    text = file.read().strip()
            except OSError:
                continue
            return int(text) if text.isdigit() and int(text) < NO_LIMIT_BYTES else None
        return None
