"""A benchmark that is killed leaves none of its servers behind."""

import os
import select
import signal
import subprocess
import sys

import pytest
from benchmarks.processes import ROOT

PLAINLY_BROKEN_SECONDS = 60
BENCHMARK = """
import sys, time
from benchmarks.processes import python_server, tree

with python_server(*sys.argv[1:]) as server:
    print(*tree(server.pid), flush=True)
    time.sleep(600)  # until the test kills it
"""


@pytest.mark.parametrize(
    ("server", "processes"),
    [
        pytest.param(("slots", "1", "0"), 1, id="one process"),
        pytest.param(("replicas", "2", "9"), 3, id="one that starts others"),
    ],
)
def test_servers_end_with_the_benchmark_that_started_them(server: tuple[str, ...], processes: int) -> None:
    command = [sys.executable, "-c", BENCHMARK, *server]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as benchmark:
        assert benchmark.stdout is not None
        started = [os.pidfd_open(int(pid)) for pid in benchmark.stdout.readline().split()]
        benchmark.send_signal(signal.SIGKILL)
    try:
        assert len(started) == processes
        for process in started:
            assert select.select([process], [], [], PLAINLY_BROKEN_SECONDS)[0], "it runs on"
    finally:
        for process in started:
            os.close(process)
