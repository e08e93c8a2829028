"""status.instances: the specialised pods of a Function, written when their number changed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from funclet.adapters.files import FileResources
from funclet.adapters.resources import DELETED, SYNCED, UPSERTED, ResourceEvent
from funclet.control.instances import InstanceCounter, function_of_pod

FUNCTION = """
apiVersion: funclet.dev/v1
kind: Function
metadata: {name: hello}
spec: {runtime: python3.13, handler: index.h, code: {inline: x}}
"""


def pod(name: str, state: str = "specialised", **metadata: Any) -> dict[str, Any]:
    labels = {"funclet.dev/state": state, "funclet.dev/function": "hello"}
    return {"metadata": {"name": name, "namespace": "default", "labels": labels, **metadata}}


class World:
    """A counter that learns of one Function of a file, and what it wrote."""

    def __init__(self, resources: FileResources) -> None:
        self.counter = InstanceCounter(resources)
        self.resources = resources
        self.written: list[int] = []

    async def follow(self) -> None:
        async for event in self.resources.watch("Function"):
            if event.type is UPSERTED:
                self.counter.observe_function(event)
                self.written.append(event.object.get("status", {}).get("instances", 0))

    async def until_written(self, count: int) -> None:
        async with asyncio.timeout(60):
            while not self.written or self.written[-1] != count:
                await asyncio.sleep(0.01)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "hello.yaml").write_text(FUNCTION)
    world = World(FileResources([tmp_path]))
    tasks = [asyncio.ensure_future(part) for part in (world.follow(), world.counter.run())]
    yield world
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_many_changes_are_one_write(world: World) -> None:
    for number in range(5):
        world.counter.observe_pod(ResourceEvent(UPSERTED, pod(f"p{number}")))
    world.counter.observe_pod(ResourceEvent(SYNCED))
    world.counter.observe_pod(ResourceEvent(DELETED, pod("p0")))
    world.counter.observe_pod(ResourceEvent(UPSERTED, pod("p1", "draining")))
    await world.until_written(3)
    assert world.written == [0, 3]


async def test_a_number_that_is_left_from_before_is_put_right(world: World) -> None:
    await world.until_written(0)
    await world.resources.patch_status("Function", "default", "hello", {"instances": 7})
    await world.until_written(7)
    world.counter.observe_pod(ResourceEvent(SYNCED))
    await world.until_written(0)


@pytest.mark.parametrize(
    ("subject", "function"),
    [
        (pod("p"), "default/hello"),
        (pod("p", "generic"), None),
        (pod("p", "draining"), None),
        (pod("p", deletionTimestamp="2026-01-01T00:00:00Z"), None),
        ({"metadata": {"name": "p", "namespace": "default"}}, None),
    ],
)
def test_which_pods_count(subject: dict[str, Any], function: str | None) -> None:
    assert function_of_pod(subject) == function
