"""A quiet machine, before something is measured that takes all of it.

A budget that speaks of a pool which is there does not speak of one that is being made: when the last of a hundred pods
is Running, kubelet, container runtime and API server go on taking both cores for a while (a hundred status updates, the
first looks at each container), and others of what was measured before may too.
"""

import time
from dataclasses import dataclass

QUIET_SHARE = 0.25
"""How busy all cores together may be. A hundred idle pods take 5 to 15 % of two."""
QUIET_SECONDS = 3.0
"""For how long: a kubelet looks at its pods every second."""
PATIENCE_SECONDS = 60.0
"""On a machine that others use, too, it may never become quiet: then that is said beside the figure."""
LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Quiet:
    """How it was, just before."""

    waited_seconds: float
    busy_share: float
    """Of all cores, over the last seconds."""

    @property
    def why(self) -> str:
        """What has to be known to read a figure: nothing, unless the machine was not quiet."""
        if self.busy_share <= QUIET_SHARE:
            return ""
        return f"the machine was {self.busy_share:.0%} busy before, even after {self.waited_seconds:.0f} s"


def await_quiet(patience_seconds: float = PATIENCE_SECONDS) -> Quiet:
    """Returns when the machine has been quiet for a while, or will not be."""
    began = time.monotonic()
    looks = [(began, _busy_and_all())]
    while True:
        time.sleep(LOOK_SECONDS)
        now = time.monotonic()
        looks.append((now, _busy_and_all()))
        while len(looks) > 2 and now - looks[1][0] >= QUIET_SECONDS:
            del looks[0]
        share = busy_share(looks[0][1], looks[-1][1])
        is_quiet = share <= QUIET_SHARE and now - looks[0][0] >= QUIET_SECONDS
        if is_quiet or now - began >= patience_seconds:
            return Quiet(now - began, share)


def busy_share(before: tuple[int, int], after: tuple[int, int]) -> float:
    """Of the time between two readings (busy, all), in ticks."""
    return (after[0] - before[0]) / max(after[1] - before[1], 1)


def _busy_and_all() -> tuple[int, int]:
    """Ticks of all cores since the boot, proc(5): user, nice, system, idle, iowait, irq, softirq, steal."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
