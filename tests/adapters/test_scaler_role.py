"""The scaler with real agents as processes: from demand to instances and back to none."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.adapters.scaler_world import HELLO, World, function, package, running_scaler

from funclet.adapters.instances.backend import Observed, Synced
from funclet.adapters.instances.processes import ProcessBackend
from funclet.adapters.resources import SecretData
from funclet.core.messages import FEED, Snapshot


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_scaler(tmp_path) as world:
        yield world
    await world.backend.close()
    assert list(tmp_path.iterdir()) == []


def _runs(pid: int) -> bool:
    """Whether there is such a process that is not waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def _labels(backend: ProcessBackend, name: str) -> dict[str, str]:
    """What a scaler that starts now would read."""
    async for event in backend.watch():
        if isinstance(event, Observed) and event.name == name:
            return event.labels
        if isinstance(event, Synced):
            break
    return {}


async def test_demand_makes_an_instance_that_answers(world: World) -> None:
    world.resources.secrets[("default", "words")] = SecretData({"w": b"secret word"}, "1")
    world.apply("hello", "r1", environment={"secrets": {"WORD": {"name": "words", "key": "w"}}})
    await world.report("hello", queued=1)
    [address] = await world.until_ready("r1")
    assert address.function == "default/hello"
    event, _, word = await world.invoke(address, {"a": 1})
    assert (event, word) == ({"a": 1}, "secret word")


async def test_ten_waiting_calls_get_ten_instances_and_the_limit_holds(world: World) -> None:
    world.apply("hello", "r1", scaling={"maxInstances": 3})
    await world.report("hello", queued=10)
    await world.until_ready("r1", count=3)
    await world.report("hello", queued=10, in_flight=3)
    assert len(world.ready) == 3


async def test_an_idle_instance_is_drained_and_gone(world: World) -> None:
    world.apply("hello", "r1", scaling={"idleTimeoutSeconds": 1})
    await world.report("hello", queued=1)
    [address] = await world.until_ready("r1")
    await world.report("hello", instances=world.idle_use(seconds=30))
    await world.until(lambda: any(m.type == "DRAINING" and m.instance == address.name for m in world.messages))
    assert not any(m.type == "GONE" for m in world.messages)
    await world.report(drained=(address.name,))
    await world.until(lambda: any(m.type == "GONE" and m.instance == address.name for m in world.messages))


async def test_a_killed_instance_is_gone_and_replaced_on_demand(world: World) -> None:
    world.apply("hello", "r1")
    await world.report("hello", queued=1)
    [address] = await world.until_ready("r1")
    _, pid, _ = await world.invoke(address, None)
    agent_pid = world.backend.find_pid(address.name)
    assert agent_pid is not None
    os.kill(agent_pid, signal.SIGKILL)
    await world.until(lambda: any(m.type == "GONE" and m.instance == address.name for m in world.messages))
    await world.report("hello", queued=1)
    [second] = await world.until_ready("r1")
    assert second.name != address.name
    async with asyncio.timeout(60):
        while _runs(pid):
            await asyncio.sleep(0.02)


async def test_a_new_revision_drains_the_old_one(world: World) -> None:
    world.apply("hello", "r1")
    await world.report("hello", queued=1)
    [old] = await world.until_ready("r1")
    world.apply("hello", "r2", package("def handler(event, context):\n    return 'new'\n"))
    await world.until(lambda: any(m.type == "DRAINING" and m.instance == old.name for m in world.messages))
    await world.report("hello", queued=1, drained=(old.name,))
    [new] = await world.until_ready("r2")
    assert await world.invoke(new, None) == "new"


async def test_a_deleted_function_loses_its_instances(world: World) -> None:
    world.apply("hello", "r1")
    await world.report("hello", queued=1)
    [address] = await world.until_ready("r1")
    world.delete("hello")
    await world.until(lambda: any(m.type == "DRAINING" and m.instance == address.name for m in world.messages))
    await world.report(drained=(address.name,))
    await world.until(lambda: any(m.type == "GONE" and m.instance == address.name for m in world.messages))


async def test_a_package_that_is_no_archive_is_refused(world: World) -> None:
    world.apply("hello", "r1", data=b"this is no zip archive")
    await world.report("hello", queued=1)
    refusal = await world.until(lambda: next((m for m in world.messages if m.type == "REFUSED"), None))
    assert (refusal.function, refusal.revision) == ("default/hello", "r1")
    assert refusal.message


async def test_provisioned_instances_are_there_without_demand(world: World) -> None:
    world.apply("hello", "r1", provisionedConcurrentExecutions=2)
    assert len(await world.until_ready("r1", count=2)) == 2


async def test_an_instance_is_told_whether_it_is_provisioned(world: World) -> None:
    how = "AWS_LAMBDA_INITIALIZATION_TYPE"
    tell = package(f"import os\ndef handler(event, context):\n    return os.environ['{how}']\n")
    world.apply("hello", "r1", tell, provisionedConcurrentExecutions=2)
    await world.report("hello", queued=3)
    told = [await world.invoke(address, None) for address in await world.until_ready("r1", count=3)]
    assert sorted(told) == ["on-demand", "provisioned-concurrency", "provisioned-concurrency"]


async def test_a_gateway_that_came_later_has_nothing_to_let_go(world: World) -> None:
    world.apply("hello", "r1")
    await world.report("hello", queued=1)
    [address] = await world.until_ready("r1")
    world.apply("hello", "r2")
    await world.until(lambda: any(m.type == "DRAINING" and m.instance == address.name for m in world.messages))
    async with world.session.get("/v1/instances", params={"reporter": "latecomer"}) as feed:
        snapshot = FEED.validate_json(await feed.content.readline())
        assert isinstance(snapshot, Snapshot)
        assert address.name not in {one.name for one in snapshot.instances}
        await world.report(drained=(address.name,))
        await world.until(lambda: any(m.type == "GONE" and m.instance == address.name for m in world.messages))


async def test_demand_that_comes_before_its_function_is_not_lost(world: World) -> None:
    await world.report("hello", queued=1)
    world.apply("hello", "r1")
    await world.until_ready("r1")


async def test_a_package_that_comes_late_is_waited_for(world: World) -> None:
    world.apply("hello", "r1")
    data = package(HELLO)
    digest = world.packages.put(data)
    del world.packages.data[digest]
    await world.report("hello", queued=1)
    world.packages.put(data)
    await world.until_ready("r1")


async def test_an_instance_that_nobody_needs_any_more_while_it_starts_is_given_up(tmp_path: Path) -> None:
    agent, folders = tmp_path / "agent.py", tmp_path / "instances"
    agent.write_text("import time\ntime.sleep(60)\n")
    folders.mkdir()
    backend = ProcessBackend(agent, root=folders)
    async with running_scaler(tmp_path, pool_size=0, backend=backend) as world:
        world.apply("hello", "r1", scaling={"idleTimeoutSeconds": 1})
        await world.report("hello", queued=1)
        async with asyncio.timeout(60):
            while not list(folders.iterdir()):
                await asyncio.sleep(0.01)
            await world.report("hello", queued=0)
            while list(folders.iterdir()):
                await asyncio.sleep(0.01)
    await backend.close()


async def test_nonsense_is_refused(world: World) -> None:
    async with world.session.post("/v1/demand", data="{") as answer:
        assert answer.status == 400
    async with world.session.get("/v1/instances") as answer:
        assert answer.status == 400
        assert "reporter" in (await answer.json())["message"]


async def test_without_the_token_nothing_is_told(world: World) -> None:
    async with aiohttp.ClientSession() as stranger:
        for method, path in (("POST", "/v1/demand"), ("GET", "/v1/instances?reporter=x")):
            url = f"http://127.0.0.1:{world.scaler.port}{path}"
            async with stranger.request(method, url, headers={"authorization": "Bearer wrong"}) as answer:
                assert answer.status == 401
                assert "token" in (await answer.json())["message"]


async def test_a_new_scaler_ends_what_belongs_to_nobody(tmp_path: Path) -> None:
    async with running_scaler(tmp_path) as first:
        first.apply("hello", "r1", timeout=1)
        await first.report("hello", queued=1)
        [address] = await first.until_ready("r1")
        backend = first.backend
        async with asyncio.timeout(60):
            while (await _labels(backend, address.name)).get("funclet.dev/state") != "specialised":
                await asyncio.sleep(0.01)
    # A clock that runs twenty times as fast: 1 s of timeout and 10 s of margin are half a second.
    async with running_scaler(tmp_path, backend=backend, clock=lambda: time.monotonic() * 20) as second:
        await second.until(lambda: any(m.type == "GONE" and m.instance == address.name for m in second.messages))
    await backend.close()


async def test_a_new_scaler_finds_what_the_old_one_left(tmp_path: Path) -> None:
    async with running_scaler(tmp_path) as first:
        first.apply("hello", "r1")
        await first.report("hello", queued=1)
        [address] = await first.until_ready("r1")
        backend = first.backend
    async with running_scaler(tmp_path, backend=backend, objects=(function("hello", "r1", package(HELLO)),)) as second:
        assert list(second.ready) == [address.name]
        assert await second.invoke(second.ready[address.name], 5)
    await backend.close()
