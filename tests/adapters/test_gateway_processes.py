"""Gateways as processes: ended, killed and stopped under load, as replicas and as the workers of one machine."""

import asyncio
import collections
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from tests.adapters.gateway_process import PROGRAM
from tests.adapters.gateway_world import TOKEN, Handler, Slot, echo, until
from tests.adapters.peers_world import FeedingScaler
from tests.ports import free_port
from tests.runtime.agent_client import is_over

from funclet.core import membership

NAMES = [f"f{number}" for number in range(24)]


class GatewayProcess:
    """One process, or a supervisor with its workers."""

    def __init__(self, name: str, scaler: FeedingScaler, **settings: object) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        values = {
            "internal_token": TOKEN, "scaler_url": scaler.url, "port": self.port, "peer_port": 0, "host": "127.0.0.1",
            "metrics_port": self.metrics_port, "name": name, "drain_seconds": 2, "shutdown_seconds": 5, **settings,
        }  # fmt: skip
        self._environment = {f"FUNCLET_{key.upper()}": str(value) for key, value in values.items()}
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self._health = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.metrics_port}", timeout=5)

    async def start(self) -> "GatewayProcess":
        environment = {**os.environ, **self._environment, "FUNCTIONS": json.dumps({name: {} for name in NAMES})}
        self.process = await asyncio.create_subprocess_exec(sys.executable, PROGRAM, env=environment)
        async with asyncio.timeout(60):
            while not await self.is_ready():
                await asyncio.sleep(0.02)
        return self

    async def is_ready(self) -> bool:
        """What a readiness probe sees."""
        try:
            return (await self._health.get("/readyz")).is_success
        except httpx.HTTPError:
            return False

    async def count(self, metric: str) -> float:
        """The sum of all series of a metric."""
        text = (await self._health.get("/metrics", timeout=60)).text
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(metric + "{"))

    def workers(self) -> list[int]:
        """Process ids of a supervisor's children."""
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    async def invoke(self, name: str) -> httpx.Response:
        return await self.http.post(f"/2015-03-31/functions/{name}/invocations", content=b'{"x": 1}')

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        await asyncio.wait_for(self.process.wait(), 60)
        await self.http.aclose()
        await self._health.aclose()


class Replicas:
    """The scaler, instances, and gateways behind something like a Service: callers reach those that are ready."""

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.all: list[GatewayProcess] = []
        self.ready: list[GatewayProcess] = []
        self.ending: list[GatewayProcess] = []
        self.outcomes: collections.Counter[str] = collections.Counter()

    async def start(self, handler: Handler, slots: int) -> None:
        self.scaler = await FeedingScaler().start()
        for name in NAMES:
            own = [await Slot(handler).start() for _ in range(slots)]
            self.slots += own
            self.scaler.announce(name, *own)
        self._probing = asyncio.create_task(self._probe())

    async def add(self, **settings: object) -> GatewayProcess:
        process = GatewayProcess(f"gateway-{len(self.all)}", self.scaler, **settings)
        self.all.append(await process.start())
        return process

    async def end(self, process: GatewayProcess) -> int:
        """As a pod is deleted: the Service sends it no new callers, and it is told to end. Its exit code."""
        self.ending.append(process)
        self.ready = [other for other in self.ready if other is not process]
        process.process.terminate()
        return await asyncio.wait_for(process.process.wait(), 60)

    async def stop(self) -> None:
        self._probing.cancel()
        for process in self.all:
            await process.stop()
        await self.scaler.stop()
        for slot in self.slots:
            await slot.stop()

    async def _probe(self) -> None:
        while True:
            running = [process for process in self.all if process.process.returncode is None]
            ready = [process for process in running if await process.is_ready()]
            self.ready = [process for process in ready if process not in self.ending]
            await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def steady_load(self, callers: int = 8) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
        """Calls all the time; gives a function that waits for so many more of them."""
        ended = asyncio.Event()

        async def call(number: int) -> None:
            while not ended.is_set():
                await until(lambda: bool(self.ready))  # a probe may be late on a busy machine
                gateway = self.ready[number % len(self.ready)]
                number += 1
                try:
                    answer = await gateway.invoke(NAMES[number % len(NAMES)])
                    told = (
                        "200" if answer.status_code == 200 else f"{answer.status_code} {answer.headers} {answer.text}"
                    )
                    self.outcomes[told] += 1
                except httpx.HTTPError as error:
                    self.outcomes[repr(error)] += 1

        async def more(count: int) -> None:
            goal = self.outcomes.total() + count
            await until(lambda: self.outcomes.total() >= goal, 60)

        tasks = [asyncio.create_task(call(number)) for number in range(callers)]
        try:
            yield more
        finally:
            ended.set()
            await asyncio.gather(*tasks)


@pytest.fixture
async def replicas() -> AsyncIterator[Replicas]:
    replicas = Replicas()
    await replicas.start(echo, slots=2)
    try:
        yield replicas
    finally:
        await replicas.stop()


async def test_a_replica_that_is_ended_fails_no_call(replicas: Replicas) -> None:
    first, second = await replicas.add(), await replicas.add()
    await until(lambda: len(replicas.ready) == 2)
    async with replicas.steady_load() as more:
        await more(200)
        assert await replicas.end(first) == 0
        await more(200)
        third = await replicas.add()
        await until(lambda: third in replicas.ready)
        await more(200)
        assert await replicas.end(second) == 0
        await more(200)
    assert replicas.outcomes.keys() == {"200"}
    assert max(slot.most_running for slot in replicas.slots) == 1


async def test_a_replica_that_is_killed_leaves_its_functions_to_the_others(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its death is noticed when its connections break, and not only when it has been silent."""
    monkeypatch.setattr(membership, "SILENT_SECONDS", 3600)
    first, second = await replicas.add(), await replicas.add()
    await until(lambda: len(replicas.scaler.gateways) == 2)
    for name in NAMES:
        assert (await second.invoke(name)).status_code == 200
    assert 0 < await first.count("funclet_invocations_total") < len(NAMES)
    first.process.kill()
    await first.process.wait()
    for name in NAMES:
        assert (await second.invoke(name)).status_code == 200
    await until(lambda: replicas.scaler.gateways == ["gateway-1"])
    assert max(slot.most_running for slot in replicas.slots) == 1


async def test_a_call_that_a_killed_replica_ran_gets_an_error() -> None:
    entered = asyncio.Event()

    async def hang(_: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        entered.set()
        await asyncio.Event().wait()
        return {}, body

    replicas = Replicas()
    await replicas.start(hang, slots=1)
    try:
        first, second = await replicas.add(), await replicas.add()
        await until(lambda: len(replicas.scaler.gateways) == 2)
        calls = {name: asyncio.create_task(second.invoke(name)) for name in NAMES}
        await until(lambda: all(slot.running for slot in replicas.slots))
        first.process.kill()
        await until(lambda: any(call.done() for call in calls.values()))
        lost = [call.result() for call in calls.values() if call.done()]
        assert {answer.status_code for answer in lost} == {500}
        assert {answer.headers["x-amzn-errortype"] for answer in lost} == {"ServiceException"}
        for call in calls.values():
            call.cancel()
        await asyncio.gather(*calls.values(), return_exceptions=True)
        second.process.kill()
    finally:
        await replicas.stop()


async def test_a_replica_that_falls_silent_is_left_out(replicas: Replicas) -> None:
    first, second = await replicas.add(), await replicas.add()
    await until(lambda: len(replicas.scaler.gateways) == 2)
    first.process.send_signal(signal.SIGSTOP)
    await until(lambda: replicas.scaler.gateways == ["gateway-1"], 60)
    answers = await asyncio.gather(*(second.invoke(name) for name in NAMES))
    assert {answer.status_code for answer in answers} == {200}
    first.process.send_signal(signal.SIGCONT)
    await until(lambda: len(replicas.scaler.gateways) == 2)
    for gateway in (first, second):
        answers = await asyncio.gather(*(gateway.invoke(name) for name in NAMES))
        assert {answer.status_code for answer in answers} == {200}


async def test_the_workers_of_a_machine_share_its_port(replicas: Replicas) -> None:
    gateway = await replicas.add(processes=2)
    await until(lambda: len(replicas.scaler.gateways) == 2)
    await until(lambda: bool(replicas.ready))
    async with replicas.steady_load() as more:
        await more(300)
    assert replicas.outcomes.keys() == {"200"}
    assert await gateway.count("funclet_invocations_total") == replicas.outcomes["200"]
    assert max(slot.most_running for slot in replicas.slots) == 1


async def test_connections_go_to_the_worker_where_their_functions_are_at_home(replicas: Replicas) -> None:
    gateway = await replicas.add(processes=2)
    await until(lambda: len(replicas.scaler.gateways) == 2)

    async def call(name: str) -> set[int]:
        async with httpx.AsyncClient(base_url=gateway.http.base_url, timeout=60) as own:
            path = f"/2015-03-31/functions/{name}/invocations"
            return {(await own.post(path, content=b"{}")).status_code for _ in range(6)}

    assert set().union(*await asyncio.gather(*map(call, NAMES))) == {200}
    assert await gateway.count("funclet_invocations_total") == 6 * len(NAMES)
    assert 0 < await gateway.count("funclet_connections_handed_over_total") <= len(NAMES)
    assert max(slot.most_running for slot in replicas.slots) == 1


async def test_a_worker_that_is_ended_fails_no_call_and_is_replaced(replicas: Replicas) -> None:
    gateway = await replicas.add(processes=2)
    await until(lambda: len(replicas.scaler.gateways) == 2)
    before = gateway.workers()
    replicas.ready = [gateway]
    replicas._probing.cancel()
    async with replicas.steady_load() as more:
        await more(200)
        os.kill(before[0], signal.SIGTERM)
        await until(lambda: len(set(gateway.workers()) - set(before)) == 1, 60)
        await more(400)
        await until(lambda: len(replicas.scaler.gateways) == 2)
        await more(200)
    assert replicas.outcomes.keys() == {"200"}
    assert max(slot.most_running for slot in replicas.slots) == 1


async def test_a_worker_that_is_killed_is_replaced(replicas: Replicas) -> None:
    gateway = await replicas.add(processes=2)
    before = gateway.workers()
    os.kill(before[0], signal.SIGKILL)
    await until(lambda: len(set(gateway.workers()) - set(before)) == 1, 60)
    await until(lambda: len(replicas.scaler.gateways) == 2, 60)
    answers = await asyncio.gather(*(gateway.invoke(name) for name in NAMES))
    assert {answer.status_code for answer in answers} == {200}


async def test_workers_end_with_their_supervisor(replicas: Replicas) -> None:
    gateway = await replicas.add(processes=2)
    workers = gateway.workers()
    gateway.process.kill()
    await gateway.process.wait()
    await until(lambda: all(map(is_over, workers)))
