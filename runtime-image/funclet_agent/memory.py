"""How much memory a handler process has with all that it started, where no cgroup counts it: in local mode."""

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
