"""Under steady load everything is killed, again and again. FUNCLET_CHAOS_SECONDS makes it longer."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from tests.e2e.conftest import Deployer
from tests.e2e.kills import Steady, kill_pods, kill_processes, kill_role, wait_for
from tests.e2e.ledger import audit
from tests.e2e.worlds import ClusterWorld, eventually

SECONDS = float(os.environ.get("FUNCLET_CHAOS_SECONDS", "16"))
EVERY_SECONDS = 4.0
CALLERS = 3
FAST = "import time\ndef handler(event, context): time.sleep(0.002)"
SLOW = "import time\ndef handler(event, context): time.sleep(1.5)"


@pytest.fixture(autouse=True)
def all_roles_up(world: ClusterWorld) -> Iterator[None]:
    """The next test finds the house complete."""
    yield
    for role in ("control", "scaler", "gateway", "events"):
        wait_for(world, role)


def repeat(*acts: Callable[[], None]) -> None:
    """One after another, every few seconds, for as long as the chaos lasts."""
    end, number = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        acts[number % len(acts)]()
        number += 1
        threading.Event().wait(EVERY_SECONDS)


def test_no_warm_call_fails_while_scaler_and_control_are_killed(world: ClusterWorld, deploy: Deployer) -> None:
    function = deploy.function(FAST, scaling={"idleTimeoutSeconds": 600})
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(Steady(world, function)) for _ in range(CALLERS)]
        eventually(lambda: all(caller.statuses[200] > 10 for caller in callers))
        repeat(lambda: kill_pods(world, "scaler"), lambda: kill_pods(world, "control"))
    assert [failure for caller in callers for failure in caller.failures] == []
    later = deploy.function("def handler(event, context): return 2")
    assert world.invoke(later).payload == 2


def test_an_instance_dies_and_only_its_callers_notice(world: ClusterWorld, deploy: Deployer) -> None:
    dying = deploy.function(SLOW, timeout=10, scaling={"idleTimeoutSeconds": 600})
    other = deploy.function(FAST, scaling={"idleTimeoutSeconds": 600})
    world.invoke(dying)
    with Steady(world, other) as neighbour:
        eventually(lambda: neighbour.statuses[200] > 10)
        with Steady(world, dying) as caller:
            eventually(lambda: caller.statuses[200] >= 1)
            world.wait_instances(dying, 1)
            assert kill_processes(world, world.namespace, f"funclet.dev/function={dying}") == 1
            eventually(lambda: caller.failures)
            answered = caller.statuses[200]
            eventually(lambda: caller.statuses[200] > answered + 1)
    assert neighbour.failures == []
    assert len(caller.failures) == 1
    assert "Runtime.ExitError" in caller.failures[0]


def test_metering_is_exact_while_every_role_is_killed(world: ClusterWorld, deploy: Deployer) -> None:
    function = deploy.function(FAST, scaling={"idleTimeoutSeconds": 600})
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(Steady(world, function)) for _ in range(CALLERS)]
        eventually(lambda: all(caller.statuses[200] > 10 for caller in callers))
        for role in ("gateway", "scaler", "nats", "events", "control"):
            kill_role(world, role)
            threading.Event().wait(EVERY_SECONDS)
        wait_for(world, "gateway")
        answered = sum(caller.statuses[200] for caller in callers)
        eventually(lambda: sum(caller.statuses[200] for caller in callers) > answered + 10)
    found = audit(world, function, callers)
    assert (found.lost, found.doubled) == (0, 0), found
    assert found.is_exact_in_ms, found
