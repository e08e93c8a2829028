"""The scaler's warm pool with real agents: whose turn it is, sizes that a node cannot give, nodes without room."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from tests.adapters.lambda_server import until
from tests.adapters.scaler_world import AGENT, HELLO, World, function, generic_request, package, running_scaler

from funclet.adapters.instances.backend import NAMESPACE_TERMINATING, InstanceEvent, Observed, Phase, ResizeResult
from funclet.adapters.instances.processes import ProcessBackend
from funclet.api.pod import PodSettings
from funclet.core import pool
from funclet.core.instances import Instance, InstanceRequest, State
from funclet.core.messages import DemandReport, FunctionDemand, Refused
from funclet.errors import FuncletError, Unavailable
from funclet.scaler import writer
from funclet.scaler.labels import LONGEST_SECONDS, QUIET_SECONDS, Labels
from funclet.scaler.writer import Writer

FAST = 20
"""A clock that runs so many times as fast: five seconds without room are a quarter of one, and a gateway is forgotten
after three."""
WORD = "0/1 nodes are available: 1 Insufficient memory."


class ShortOfRoom(ProcessBackend):
    """Processes on a platform whose nodes are full, for as long as it is told so."""

    def __init__(self, root: Path) -> None:
        super().__init__(AGENT, root=root)
        self.requests: list[InstanceRequest] = []
        self.resize_result = ResizeResult.ACCEPTED
        self.resize_refusal: str | None = None
        self.grants = True
        self.labels_are_written = True
        self.labelled: list[str] = []
        self.resized = asyncio.Event()
        self.is_full = False
        self._postponed: list[InstanceRequest] = []
        self._news: asyncio.Queue[InstanceEvent] = asyncio.Queue()

    async def create(self, request: InstanceRequest) -> None:
        self.requests.append(request)
        if not self.is_full:
            await super().create(request)
            return
        self._postponed.append(request)
        self._news.put_nowait(
            Observed(
                request.namespace, request.name, Phase.PENDING, labels=request.labels, obstacle=("Unschedulable", WORD)
            )
        )

    async def make_room(self) -> None:
        """An autoscaler has added a node."""
        self.is_full = False
        for request in self._postponed:
            await super().create(request)

    async def label(self, namespace: str, name: str, labels: dict[str, str], annotations: dict[str, str]) -> None:
        self.labelled.append(name)
        if self.labels_are_written:
            await super().label(namespace, name, labels, annotations)

    async def resize(self, namespace: str, name: str, memory_mib: int, limit_mib: int) -> ResizeResult:
        self.resized.set()
        seen = self._running[name].seen
        if self.resize_result is ResizeResult.ACCEPTED and self.grants and self.resize_refusal is None:
            return await super().resize(namespace, name, memory_mib, limit_mib)
        if self.resize_result is ResizeResult.ACCEPTED:
            seen = self._running[name].seen = replace(seen, memory_mib=memory_mib, granted_memory_mib=128)
            self._news.put_nowait(replace(seen, resize_refusal=self.resize_refusal))
        return self.resize_result

    async def watch(self) -> AsyncIterator[InstanceEvent]:
        copying = asyncio.create_task(self._copy())
        try:
            while True:
                yield await self._news.get()
        finally:
            copying.cancel()

    async def _copy(self) -> None:
        async for event in super().watch():
            self._news.put_nowait(event)


class OneByOne(ProcessBackend):
    """Processes of which each starts when it is told so: how fast the others are changes nothing."""

    def __init__(self, agent: Path, root: Path) -> None:
        super().__init__(agent, root=root)
        self.requested = self.created = 0
        self.deleted: set[str] = set()
        self.turns = asyncio.Semaphore(0)

    async def create(self, request: InstanceRequest) -> None:
        self.requested += 1
        await self.turns.acquire()
        await super().create(request)
        self.created += 1

    async def delete(self, namespace: str, name: str, grace_seconds: int) -> None:
        self.deleted.add(name)
        await super().delete(namespace, name, grace_seconds)

    async def until_requested(self, count: int) -> None:
        await until(lambda: self.requested == count)


def _phase_count(phase: str) -> float:
    return REGISTRY.get_sample_value("funclet_cold_start_seconds_count", {"phase": phase}) or 0.0


def _pool_instances() -> float | None:
    pool_labels = {"namespace": "default", "runtime": "python3.11"}
    return REGISTRY.get_sample_value("funclet_pool_instances", pool_labels)


def _order(world: World) -> list[str]:
    """Functions in the order in which instances of theirs became ready."""
    return [m.instance.function.removeprefix("default/") for m in world.messages if m.type == "READY"]


async def _until_so_many(world: World, count: int) -> None:
    await world.until(lambda: len(_order(world)) == count)


def _refusals(world: World) -> list[Refused]:
    return [message for message in world.messages if message.type == "REFUSED"]


async def test_who_waits_for_many_takes_turns_with_who_waits_for_one(tmp_path: Path) -> None:
    backend = OneByOne(AGENT, root=tmp_path)
    async with running_scaler(tmp_path, pool_size=2, backend=backend) as world:
        demand = {}
        for name, queued in (("burst", 6), ("single", 1), ("other", 1)):
            world.apply(name, f"{name}-1")
            demand[f"default/{name}"] = FunctionDemand(queued=queued)
        report = DemandReport(reporter="gateway", functions=demand)
        async with world.session.post("/v1/demand", data=report.model_dump_json()) as answer:
            assert answer.status == 204
        for count in range(1, 9):
            backend.turns.release()
            await _until_so_many(world, count)
        assert set(_order(world)[:3]) == {"burst", "single", "other"}
    await backend.close()


async def test_while_calls_come_one_pod_at_a_time_takes_their_cpu(tmp_path: Path) -> None:
    backend, now = OneByOne(AGENT, root=tmp_path), [0.0]
    async with running_scaler(tmp_path, pool_size=4, backend=backend, clock=lambda: now[0]) as world:
        for name in ("first", "second"):
            world.apply(name, f"{name}-1")
        await backend.until_requested(4)  # nobody has called yet
        for _ in range(4):
            backend.turns.release()
        for name in ("first", "second"):
            await world.report(name, queued=1)
            await world.until_ready(f"{name}-1")
            await world.report(name, in_flight=1)
        now[0] += pool.QUIET_SECONDS
        for there in (3, 4):
            await backend.until_requested(2 + there)
            assert _pool_instances() == there
            backend.turns.release()
    await backend.close()


async def test_sixteen_callers_get_sixteen_instances(tmp_path: Path) -> None:
    async with running_scaler(tmp_path, pool_size=2) as world:
        world.apply("hello", "r1")
        await world.report("hello", queued=16)
        assert len(await world.until_ready("r1", count=16)) == 16
    await world.backend.close()


async def test_labels_are_written_when_no_caller_waits_for_the_cpu_that_it_takes(tmp_path: Path) -> None:
    backend = ShortOfRoom(tmp_path)
    writing, now = Writer(backend), [0.0]
    labels = Labels(writing, lambda: now[0])
    instances = [
        Instance(name, "default", "python3.11", 128, since=since, state=State.READY, function="default/f")
        for name, since in (("first", 0.0), ("second", LONGEST_SECONDS / 2))
    ]
    for instance in instances:
        labels.postpone(instance, PodSettings())
    labels.write(quiet=False)
    assert not any(instance.written for instance in instances)
    now[0] = LONGEST_SECONDS
    labels.write(quiet=False)
    assert [instance.written for instance in instances] == [True, False]
    for quiet in (True, False, True):
        labels.write(quiet=quiet)
        assert not instances[1].written
        now[0] += QUIET_SECONDS / 2
    now[0] += QUIET_SECONDS
    labels.write(quiet=True)
    assert instances[1].written
    await writing.stop()
    await backend.close()


async def test_no_label_is_written_while_somebody_waits_for_the_pool(tmp_path: Path) -> None:
    backend, now = ShortOfRoom(tmp_path), [0.0]

    async def look(name: str, **demand: Any) -> None:
        """A moment later, which is quiet for long enough if nobody waits."""
        now[0] += 2 * QUIET_SECONDS
        await world.report(name, **demand)

    async with running_scaler(tmp_path, backend=backend, clock=lambda: now[0]) as world:
        world.apply("first", "first-1")
        world.apply("second", "second-1")
        await until(lambda: bool(backend.requests))
        backend.is_full = True
        await world.report("first", queued=1)
        [first] = await world.until_ready("first-1")
        await world.report("second", queued=1)
        for _ in range(3):
            await look("first", in_flight=1)
        assert backend.labelled == []
        await backend.make_room()
        [second] = await world.until_ready("second-1")
        await look("first", in_flight=1)
        await look("second", in_flight=1)
        await until(lambda: backend.labelled == [first.name, second.name])
    await backend.close()


async def test_an_instance_with_more_slots_serves_more_callers(tmp_path: Path) -> None:
    async with running_scaler(tmp_path) as world:
        world.apply("hello", "r1", scaling={"concurrencyPerInstance": 4})
        await world.report("hello", queued=8)
        addresses = await world.until_ready("r1", count=2)
        assert [len(address.slots) for address in addresses] == [4, 4]
        await world.report("hello", in_flight=8)
        assert len(world.ready) == 2
    await world.backend.close()


async def test_what_nobody_waits_for_any_more_is_not_kept(tmp_path: Path) -> None:
    agent, folders = tmp_path / "agent.py", tmp_path / "instances"
    agent.write_text("import time\ntime.sleep(60)\n")
    folders.mkdir()
    backend = ProcessBackend(agent, root=folders)
    async with running_scaler(tmp_path, pool_size=1, backend=backend) as world, asyncio.timeout(60):
        world.apply("hello", "r1")
        await world.report("hello", queued=4)
        while len(list(folders.iterdir())) < 4:
            await asyncio.sleep(0.01)
        await world.report("hello", queued=0)
        while len(list(folders.iterdir())) > 1:
            await asyncio.sleep(0.01)
    await backend.close()


async def test_what_is_given_up_before_it_is_there_is_not_kept(tmp_path: Path) -> None:
    backend = OneByOne(AGENT, root=tmp_path)
    async with running_scaler(tmp_path, pool_size=1, backend=backend) as world:
        world.apply("hello", "r1")
        await world.report("hello", queued=3)
        await backend.until_requested(3)
        await world.report("hello", queued=0)
        await until(lambda: len(backend.deleted) == 2)  # there was nothing to delete yet
        for _ in range(3):
            backend.turns.release()
        await until(lambda: backend.created == 3 and len(list(tmp_path.iterdir())) == 1)
    await backend.close()


async def test_what_is_given_up_before_its_turn_is_never_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LIMIT", 1)
    backend = OneByOne(AGENT, root=tmp_path)
    writing, failures = Writer(backend), list[FuncletError]()
    for name in ("first", "second", "third"):
        writing.create(
            generic_request(name), key="default/f", waiting=True, on_created=lambda: None, on_failed=failures.append
        )
    await backend.until_requested(1)
    writing.delete("default", "second", grace_seconds=1)
    for _ in range(2):
        backend.turns.release()
    await until(lambda: backend.created == 2)
    assert {folder.name.partition("-")[0] for folder in tmp_path.iterdir()} == {"first", "third"}
    assert failures == []
    await writing.stop()
    await backend.close()


async def test_each_phase_of_a_cold_start_is_measured(tmp_path: Path) -> None:
    before = {phase: _phase_count(phase) for phase in ("claim", "create", "start", "specialise")}
    async with running_scaler(tmp_path, pool_size=0) as world:
        world.apply("own", "own-1")
        await world.report("own", queued=1)
        await world.until_ready("own-1")
    await world.backend.close()
    async with running_scaler(tmp_path, pool_size=1) as world:
        world.apply("pooled", "pooled-1")
        await world.report("pooled", queued=1)
        await world.until_ready("pooled-1")
    await world.backend.close()
    assert all(_phase_count(phase) > count for phase, count in before.items()), before


@pytest.mark.parametrize(
    ("result", "refusal", "grants"),
    [
        pytest.param(ResizeResult.REFUSED, None, True, id="refused by the API server"),
        pytest.param(ResizeResult.ACCEPTED, "Deferred", True, id="deferred"),
        pytest.param(ResizeResult.ACCEPTED, "Infeasible", True, id="infeasible"),
        pytest.param(ResizeResult.ACCEPTED, None, False, id="never in force"),
    ],
)
async def test_a_size_that_its_node_cannot_give_is_had_elsewhere(
    tmp_path: Path, result: ResizeResult, refusal: str | None, grants: bool
) -> None:
    backend = ShortOfRoom(tmp_path)
    backend.resize_result, backend.resize_refusal, backend.grants = result, refusal, grants
    async with running_scaler(tmp_path, backend=backend, clock=lambda: time.monotonic() * FAST) as world:
        world.apply("large", "r1", memorySize=512)
        world.apply("small", "s1")
        async with world.reporting("large", queued=1):
            await world.until(lambda: len(world.ready) == 1 and set(world.ready) <= large_ones(backend))
        [own] = world.ready
        async with world.reporting("large", in_flight=1), world.reporting("small", queued=1):
            await world.until_ready("s1")
        assert own in world.ready
    await backend.close()


async def test_callers_are_told_that_no_node_has_room_and_get_one_when_it_comes(tmp_path: Path) -> None:
    backend = ShortOfRoom(tmp_path)
    backend.is_full = True
    async with running_scaler(tmp_path, backend=backend, clock=lambda: time.monotonic() * FAST) as world:
        world.apply("pooled", "pooled-1")
        world.apply("own", "own-1", ephemeralStorage={"size": 1024})
        async with world.reporting("pooled", "own", queued=1):
            await world.until(lambda: {"default/pooled", "default/own"} <= {r.function for r in _refusals(world)})
            assert {(r.reason, r.message) for r in _refusals(world)} == {("Unschedulable", WORD)}
            await backend.make_room()
            await world.until_ready("pooled-1")
            await world.until_ready("own-1")
    await backend.close()


class Ends(ShortOfRoom):
    """A namespace that is being deleted, until it is another one."""

    ends = True

    async def create(self, request: InstanceRequest) -> None:
        if self.ends:
            self.requests.append(request)
            raise Unavailable("403", reason=NAMESPACE_TERMINATING)
        await super().create(request)


@pytest.mark.parametrize("spec", [{}, {"ephemeralStorage": {"size": 1024}}], ids=["pooled", "own"])
async def test_a_namespace_that_ends_is_left_alone(
    tmp_path: Path, spec: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    backend = Ends(tmp_path)
    with caplog.at_level("INFO", "funclet.scaler"):
        async with running_scaler(tmp_path, backend=backend) as world:
            world.apply("old", "old-1", **spec)
            async with world.reporting("old", queued=1):
                await world.until(lambda: len(_refusals(world)) > 5)
            asked = len(backend.requests)
            async with world.reporting("old", queued=1):
                await world.until(lambda: len(_refusals(world)) > 10)
            assert {r.reason for r in _refusals(world)} == {NAMESPACE_TERMINATING}
            assert len(backend.requests) == asked
            assert [one.message for one in caplog.records].count(
                "namespace is being deleted: nothing is started there"
            ) == 1
            backend.ends = False
            world.delete("old")
            world.apply("new", "new-1", **spec)
            async with world.reporting("new", queued=1):
                await world.until_ready("new-1")
    await backend.close()


async def test_a_new_scaler_asks_an_agent_whose_labels_say_nothing(tmp_path: Path) -> None:
    backend = ShortOfRoom(tmp_path)
    backend.labels_are_written = False
    async with running_scaler(tmp_path, backend=backend) as first:
        first.apply("hello", "r1")
        await first.report("hello", queued=1)
        [address] = await first.until_ready("r1")
    async with running_scaler(tmp_path, backend=backend, objects=(function("hello", "r1", package(HELLO)),)) as second:
        assert list(second.ready) == [address.name]
    await backend.close()


async def test_a_new_scaler_gives_up_what_its_node_never_gave_the_size(tmp_path: Path) -> None:
    backend = ShortOfRoom(tmp_path)
    backend.grants = False
    async with running_scaler(tmp_path, backend=backend) as first:
        first.apply("large", "r1", memorySize=512)
        await first.report("large", queued=1)
        [address] = await first.until_ready("r1")
        await backend.resized.wait()
    known = (function("large", "r1", package(HELLO), memorySize=512),)
    async with running_scaler(
        tmp_path, backend=backend, objects=known, clock=lambda: time.monotonic() * FAST
    ) as second:
        assert list(second.ready) == [address.name]
        second.packages.put(package(HELLO))
        async with second.reporting("large", queued=1):
            await second.until(lambda: address.name not in second.ready)
            [own] = await second.until_ready("r1")
        assert own.name in large_ones(backend)
    await backend.close()


async def test_a_generic_instance_may_take_what_the_largest_function_was_promised(tmp_path: Path) -> None:
    backend = ShortOfRoom(tmp_path)
    async with running_scaler(tmp_path, pool_size=1, backend=backend) as world:
        world.apply("small", "s1")
        await until(lambda: bool(backend.requests))
        assert [(r.memory_mib, r.limit_mib) for r in backend.requests] == [(128, 128)]
        world.apply("large", "r1", memorySize=512)
        [generic] = [r.name for r in backend.requests]
        await until(lambda: sizes_of(backend, generic) == (128, 512))
        await world.report("large", queued=1)
        [address] = await world.until_ready("r1")
        assert address.name == generic
        await until(lambda: sizes_of(backend, generic) == (512, 512))
        await until(lambda: len(backend.requests) > 1)
        assert {(r.memory_mib, r.limit_mib) for r in backend.requests[1:]} == {(128, 512)}
        await world.report("small", queued=1)
        [small] = await world.until_ready("s1")
        await until(lambda: sizes_of(backend, small.name) == (128, 128))
    await backend.close()


async def test_a_limit_that_cannot_be_lowered_harms_nobody(tmp_path: Path) -> None:
    backend = ShortOfRoom(tmp_path)
    async with running_scaler(tmp_path, pool_size=1, backend=backend) as world:
        world.apply("small", "s1")
        world.apply("large", "r1", memorySize=512)
        await world.report("small", queued=1)
        [address] = await world.until_ready("s1")
        seen = backend._running[address.name].seen
        backend._news.put_nowait(replace(seen, granted_memory_mib=512, resize_refusal="Error"))
        await world.report("large", queued=1)
        await world.until_ready("r1")
        assert address.name in world.ready
    await backend.close()


def sizes_of(backend: ShortOfRoom, name: str) -> tuple[int, int]:
    """What the platform was asked for: memory, limit."""
    seen = backend._running[name].seen if name in backend._running else Observed("", "", Phase.PENDING)
    return seen.memory_mib, seen.granted_memory_mib


def large_ones(backend: ShortOfRoom) -> set[str]:
    """Instances that were asked for with 512 MiB."""
    return {request.name for request in backend.requests if request.memory_mib == 512}
