"""`funclet dlq`: what was given up is listed, shown, redriven and purged."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Deployer
from tests.e2e.test_asynchronous import send, wait_for
from tests.e2e.worlds import World

FUNCLET = str(Path(sys.executable).with_name("funclet"))
PICKY = (
    "def handler(event, context):\n    if event['n'] < {least}: raise ValueError('too small')\n    return event['n']"
)


def dlq(world: World, *arguments: str, fails: bool = False) -> str:
    """What the command printed."""
    command = [FUNCLET, "dlq", "--nats", world.nats_url, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert (done.returncode != 0) == fails, done.stderr
    return done.stdout + done.stderr


def test_an_event_that_was_given_up_is_redriven_once_its_function_is_mended(world: World, deploy: Deployer) -> None:
    once: dict[str, Any] = {"eventInvokeConfig": {"maximumRetryAttempts": 0}}
    function = deploy.function(PICKY.format(least=2), **once)
    here = ("-n", world.namespace)
    ids = [send(world, function, {"n": n}) for n in range(2)]
    for request_id in ids:
        assert wait_for(world, function, request_id)["condition"] == "RetriesExhausted"
    listed = dlq(world, "list", function, *here).splitlines()
    assert len(listed) == 2
    assert all("RetriesExhausted" in line and "too small" in line for line in listed)
    shown = json.loads(dlq(world, "show", ids[1]))
    assert shown["payload"] == {"n": 1}
    assert (shown["function"], shown["attempts"]) == (f"{world.namespace}/{function}", 1)

    deploy.function(PICKY.format(least=0), name=function, **once)
    moved = dlq(world, "redrive", function, *here, "--id", ids[1])
    new_id = moved.split()[-1]
    result = wait_for(world, function, new_id)
    if result["status"] == "Failed":  # the old code had it once more
        new_id = dlq(world, "redrive", "--id", new_id).split()[-1]
        result = wait_for(world, function, new_id)
    assert result["responsePayload"] == 1

    assert ids[0] in dlq(world, "list", function, *here)
    assert "1 deleted" in dlq(world, "purge", function, *here, "--yes")
    assert "No dead letters" in dlq(world, "list", function, *here)


def test_what_would_touch_everything_must_be_named(world: World) -> None:
    assert "say which" in dlq(world, "purge", "--yes", fails=True)
    assert "no dead letter has the request id" in dlq(world, "show", "nobody", fails=True)


def test_a_server_that_is_not_there_is_named_with_what_to_do(world: World) -> None:
    command = [FUNCLET, "dlq", "--nats", "nats://127.0.0.1:1", "list"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert "no NATS at nats://127.0.0.1:1" in done.stderr
    assert "port-forward" in done.stderr


def test_the_command_line_waits_for_a_result(world: World, deploy: Deployer) -> None:
    function = deploy.function("def handler(event, context): return event['n'] + 1")
    where = ("--endpoint", world.url, "-n", world.namespace)
    command = [FUNCLET, "invoke", function, "--payload", '{"n": 1}', "--async", "--wait", "60", *where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["responsePayload"] == 2
    request_id = done.stderr.strip()
    again = subprocess.run(
        [FUNCLET, "result", function, request_id, *where], capture_output=True, text=True, timeout=60
    )
    assert json.loads(again.stdout) == json.loads(done.stdout)
    unknown = subprocess.run([FUNCLET, "result", function, "0" * 8 + request_id[8:], *where], capture_output=True)
    assert unknown.returncode == 1
