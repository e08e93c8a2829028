"""A fixed share of a CPU for each of some processes, by cgroups made for it: CPU quotas of version 1 or 2.

So a process can be the bottleneck on a machine whose other processes need CPU too. It needs root, and a hierarchy of
cgroups with the cpu controller in which new groups may be made.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.figure import Unmeasured

PERIOD_US = 20_000
"""Short, so that a process which has used up its share stands still for milliseconds only."""
ROOT = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def limited(pids: Sequence[int], share: float) -> Iterator[None]:
    """Each of these processes gets at most this share of one CPU."""
    with contextlib.ExitStack() as stack:
        for pid in pids:
            stack.enter_context(_limit(pid, share))
        yield


@contextlib.contextmanager
def _limit(pid: int, share: float) -> Iterator[None]:
    try:
        base = _hierarchy()
        group = base / f"funclet-bench-{os.getpid()}-{pid}"
        group.mkdir()
    except OSError as error:
        raise Unmeasured(f"needs root and a cgroup hierarchy for CPU quotas: {error}") from error
    try:
        _set_quota(group, int(share * PERIOD_US))
        _move(pid, group)
        yield
    finally:
        _move(pid, base)
        group.rmdir()


def _hierarchy() -> Path:
    """Where groups with CPU quotas are made."""
    for name in ("cpu", "cpu,cpuacct"):
        if (ROOT / name / "cgroup.procs").exists():
            return ROOT / name
    (ROOT / "cgroup.subtree_control").write_text("+cpu")
    return ROOT


def _set_quota(group: Path, quota_us: int) -> None:
    if (group / "cpu.max").exists():
        (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(quota_us))


def _move(pid: int, group: Path) -> None:
    """Into this group; a process that has ended is in none."""
    with contextlib.suppress(ProcessLookupError):
        (group / "cgroup.procs").write_text(str(pid))
