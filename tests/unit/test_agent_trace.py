"""The variable that changes with each invocation."""

import subprocess
import sys
from pathlib import Path

AGENT = Path(__file__).parents[2] / "runtime-image"
MANY = """
import os
from funclet_agent.trace import TraceVariable

def resident_pages():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

trace = TraceVariable()
trace.set(b"first")
before = resident_pages()
for number in range(100_000):
    trace.set(b"Root=1-5759e988-%024x;Sampled=0" % number)
assert os.environ["_X_AMZN_TRACE_ID"] == "Root=1-5759e988-00000000000000000001869f;Sampled=0"
print(resident_pages() - before)
"""


def test_invocations_without_number_take_no_memory() -> None:
    """With os.environ[…] = … it were 10 MiB: glibc keeps every value that a variable ever had."""
    grown = subprocess.check_output([sys.executable, "-c", MANY], env={"PYTHONPATH": str(AGENT)}, text=True)
    assert int(grown) < 500
