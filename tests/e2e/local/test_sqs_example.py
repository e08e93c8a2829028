"""examples/sqs/README.md: what it prints is typed here, line by line, and does what it says."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.example_code import EXAMPLES
from tests.e2e.worlds import LocalWorld, eventually
from tests.ports import free_port

ROOT = EXAMPLES.parent
PRINTED_PORT = "9324"
SCRIPT, START = "scripts/elasticmq", "funclet local examples/sqs/"
LINES = [line[4:] for line in (EXAMPLES / "sqs" / "README.md").read_text().splitlines() if line.startswith("    ")]
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


@pytest.fixture
def port() -> Iterator[str]:
    """Of the server that the printed script runs: a free one, since anybody may have the printed one."""
    port = str(free_port())
    with subprocess.Popen([sys.executable, ROOT / SCRIPT, port], cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        # Before this line it may say that it fetches the server.
        assert f"ElasticMQ is at http://127.0.0.1:{port}\n" in server.stdout, "it ended"
        yield port
        # Not SIGINT: whatever a shell starts in the background ignores it, and its children do.
        server.terminate()


def type_in(lines: list[str]) -> str:
    """What they print."""
    command, environment = ["bash", "-euc", "\n".join(lines)], {**os.environ, "PATH": PATH}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_runs_as_printed(port: str, tmp_path: Path) -> None:
    folder = tmp_path / "sqs"
    shutil.copytree(EXAMPLES / "sqs", folder)
    manifest = folder / "function.yaml"
    manifest.write_text(manifest.read_text().replace(PRINTED_PORT, port))
    assert LINES[0] == SCRIPT
    assert START in LINES
    variables, *steps, look = [line.replace(PRINTED_PORT, port) for line in LINES if line not in (SCRIPT, START)]
    world = LocalWorld(folder)
    try:
        type_in([variables, *steps])
        eventually(lambda: any(line.endswith("shipping 2 × tea") for line in list(world.said)))
        # One look waits for 20 s, which is plenty, but for a machine that is very slow.
        letters = eventually(lambda: json.loads(type_in([variables, look]) or "{}").get("Messages"))
    finally:
        world.close()
    assert [letter["Body"] for letter in letters] == ['{"count": 2}']
