"""Whether metering is exact while every role of the cluster is killed with SIGKILL under load.

What callers were told (X-Funclet-Billed-Ms) is compared with the usage ledger: the value is how many invocations it
lost or counted twice. Calls that were cut off without an answer may have run or not; they are neither.
"""

import contextlib
import time

from tests.e2e.kills import Steady, kill_role, wait_for
from tests.e2e.ledger import audit

from benchmarks.cluster import cluster
from benchmarks.figure import Budget, Figure, Peer

CALLERS = 6
PAUSE_SECONDS = 4.0
KILLED = ("gateway", "scaler", "nats", "events", "control", "gateway")
SOURCE = "import time, random\ndef handler(event, context): time.sleep(random.random() / 50)\n"


def measure() -> Figure:
    """Invocations lost, and counted twice."""
    with cluster(pool=CALLERS) as world:
        [function] = world.create_functions(1, SOURCE, scaling={"idleTimeoutSeconds": 600})
        with contextlib.ExitStack() as stack:
            callers = [stack.enter_context(Steady(world, function)) for _ in range(CALLERS)]
            for role in KILLED:
                time.sleep(PAUSE_SECONDS)
                kill_role(world, role)
            wait_for(world, "gateway")
            time.sleep(PAUSE_SECONDS)
        found = audit(world, function, callers)
    wrong_ms = 0 if found.is_exact_in_ms else abs(found.ledger.billed_ms - found.told_ms)
    why = (
        f"{found.answers:,} answers, {found.told_ms:,} ms told, {found.ledger.billed_ms:,} ms in the ledger; "
        f"{found.unknown} calls cut off; {len(KILLED)} kills"
    )
    value = found.lost + found.doubled + wrong_ms
    return Figure("metering_lost_or_doubled", value, "", Budget(0), [Peer("answers", found.answers)], why=why)
