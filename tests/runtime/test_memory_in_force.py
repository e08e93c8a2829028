"""A function begins when the memory that it was promised is in force, and takes no more than that."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.runtime.agent_client import SPECIALISE_TOKEN, Agent, Connection, package, specialisation, wait_until

MIB = 1 << 20
HANDLER = "print('begun')\ndef lambda_handler(event, context):\n    return len(bytearray(event << 20)) >> 20\n"
GREEDY = """
import os, time
def lambda_handler(event, context):
    kept = []
    while event == 'greedy':
        kept.append(bytearray(os.urandom(1 << 20)))
        time.sleep(0.002)
    return os.getpid()
"""


@pytest.fixture
def limit(tmp_path: Path) -> Path:
    """Where the kernel would say which limit is in force."""
    file = tmp_path / "memory.max"
    file.write_text(f"{128 * MIB}\n")
    return file


@pytest.fixture
def agent(tmp_path: Path, limit: Path) -> Iterator[Agent]:
    with Agent(tmp_path, FUNCLET_MEMORY_LIMIT_FILES=f"/no/such/file:{limit}") as started:
        yield started


def test_nothing_of_it_runs_before(agent: Agent, limit: Path) -> None:
    with ThreadPoolExecutor(1) as caller:
        specialised = caller.submit(agent.specialise, HANDLER, memory_mib=512)
        wait_until((agent.task_root / "index.py").exists)
        time.sleep(0.2)
        assert agent.status()["state"] == "generic"
        assert agent.specialise(HANDLER, revision="another").status == 503
        assert not specialised.done()
        assert "begun" not in agent.log
        limit.write_text(f"{512 * MIB}\n")
        assert specialised.result(60).status == 200
    assert agent.invoke(1).json == 1


@pytest.mark.parametrize("text", [str(128 * MIB), str(1024 * MIB), "max", str((1 << 63) - 4096)])
def test_what_is_in_force_is_not_waited_for(agent: Agent, limit: Path, text: str) -> None:
    limit.write_text(f"{text}\n")
    assert agent.specialise(HANDLER, memory_mib=128).status == 200
    assert agent.invoke(1).json == 1


def test_whoever_gives_up_leaves_an_instance_that_is_of_no_use(agent: Agent) -> None:
    head = json.dumps(specialisation(memory_mib=512)).encode()
    connection = Connection(agent.port)
    body = len(head).to_bytes(4, "big") + head + package({"index.py": HANDLER})
    connection.send("POST", "/v1/specialise", body, {"x-funclet-token": SPECIALISE_TOKEN})
    wait_until((agent.task_root / "index.py").exists)
    connection.close()
    assert agent.specialise(HANDLER, memory_mib=128).status == 503
    assert agent.status()["state"] == "generic"


def test_a_limit_above_its_size_is_not_its_size(agent: Agent, limit: Path) -> None:
    """Until the kernel holds it to that, the agent does."""
    limit.write_text(f"{1024 * MIB}\n")
    agent.specialise(GREEDY, timeout_seconds=60)
    pid = agent.invoke(None).json
    assert agent.invoke("greedy").json["errorType"] == "Runtime.ExitError"
    assert agent.invoke(None).json != pid
