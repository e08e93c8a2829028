"""A container ends with whoever asked for it."""

import os
import signal
from pathlib import Path

import pytest
from tests.cluster.steps import run
from tests.e2e import function_images
from tests.e2e.conftest import WORLD, Deployer
from tests.e2e.worlds import World, eventually

pytestmark = pytest.mark.timeout(600)


def containers() -> list[str]:
    """The names of Funclet's containers."""
    return run(["podman", "ps", "--all", "--filter", "name=funclet-image-", "--format", "{{.Names}}"]).split()


def guards_of(container: str) -> list[int]:
    """The processes that run a container: the one that the agent knows, and the watchman."""
    instance = container.removeprefix("funclet-").rpartition("-")[0]
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (folder / "cmdline").exists():
            command = (folder / "cmdline").read_text()
            if "container_guard" in command and instance in command:
                found.append(int(folder.name))
    return found


def test_the_container_of_a_killed_bootstrap_is_removed(world: World, deploy: Deployer) -> None:
    uri = function_images.bring(Path(__file__).parents[1] / "image", WORLD)
    name = deploy.image(uri, timeout=60)
    before = containers()
    assert world.invoke(name).payload == "in time"
    [container] = set(containers()) - set(before)
    bootstrap, _ = sorted(guards_of(container))
    os.kill(bootstrap, signal.SIGKILL)
    eventually(lambda: container not in containers())
    assert world.invoke(name).payload == "in time"


def test_no_container_is_left_when_its_function_is_gone(world: World, deploy: Deployer) -> None:
    uri = function_images.bring(Path(__file__).parents[1] / "image", WORLD)
    name = deploy.image(uri, timeout=60)
    before = containers()
    assert world.invoke(name).payload == "in time"
    [container] = set(containers()) - set(before)
    deploy.delete("Function", name)
    eventually(lambda: container not in containers())
    eventually(lambda: not guards_of(container))
