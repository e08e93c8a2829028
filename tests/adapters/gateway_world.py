"""A gateway on loopback between a scaler whose feed the test writes, and instances that are small real servers."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiohttp import web
from tests.ports import free_port

from funclet.adapters.event_log import EventLog
from funclet.adapters.scaler_client import ScalerClient
from funclet.api.function import Environment
from funclet.api.pod import PodSettings
from funclet.api.trigger import Trigger
from funclet.core.messages import DemandReport, InstanceAddress, Message, Ready, Snapshot
from funclet.core.qualifiers import AliasRoute
from funclet.core.revision import Revision
from funclet.gateway.limits import Limits
from funclet.gateway.role import Gateway
from funclet.gateway.settings import GatewaySettings

TOKEN = "internal"
Handler = Callable[[dict[str, str], bytes], Awaitable[tuple[dict[str, str], bytes]]]


async def echo(_: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    return {}, body


class Slot:
    """One slot of an instance, as the contract has it."""

    def __init__(self, handler: Handler = echo, token: str = "t") -> None:
        self.handler = handler
        self.token = token
        self.running = self.most_running = 0
        self.received: list[dict[str, str]] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> "Slot":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head[1:] if line}
                assert head[0] == "POST /invoke HTTP/1.1"
                assert headers["x-funclet-token"] == self.token
                body = await reader.readexactly(int(headers["content-length"]))
                await self._answer(writer, headers, body)
        self._writers.discard(writer)
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, headers: dict[str, str], body: bytes) -> None:
        self.received.append(headers)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            extra, answer = await self.handler(headers, body)
        finally:
            self.running -= 1
        lines = {
            "content-type": "application/json",
            "content-length": str(len(answer)),
            "x-funclet-duration-us": "1500",
        }
        lines |= extra
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"HTTP/1.1 200 OK\r\n{text}\r\n".encode() + answer)
        await writer.drain()


FORM = re.compile(
    rb"POST /invoke HTTP/1\.1\r\nhost: funclet\r\nx-funclet-token: t\r\ncontent-type: application/json\r\n"
    rb"lambda-runtime-aws-request-id: [0-9a-f-]{36}\r\nlambda-runtime-trace-id: [\w=;:.,+/ -]{1,512}\r\n"
    rb"(?:lambda-runtime-client-context: [ -~]+\r\n)?(?:x-amz-log-type: Tail\r\n)?"
    rb"(?:lambda-runtime-function-response-mode: streaming\r\n)?content-length: (\d+)\r\n\r\n"
)
"""All that a gateway ever says to an instance, but for the body."""
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
WELL = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-funclet-duration-us: 1500\r\n\r\n%b"
)


async def answer_well(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What a script does that wants nothing special."""
    writer.write(WELL % (2, b"{}"))
    await writer.drain()


class Recorder:
    """An instance that keeps every byte it is sent, and then does what its script says."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.bodies: list[bytes] = []
        self.strays: list[bytes] = []
        """What is none of the gateway's requests."""
        self.connections = 0
        self.running = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", self.port, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                form = FORM.fullmatch(head)
                if form is None:
                    self.strays.append(head)
                    return
                self.bodies.append(await reader.readexactly(int(form[1])))
                self.running += 1
                try:
                    await self.script(reader, writer)
                finally:
                    self.running -= 1
        except asyncio.IncompleteReadError as error:
            self.strays += [error.partial] if error.partial else []
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()


@dataclass
class Catalog:
    """A catalog that the test fills."""

    functions: dict[str, Revision] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    aliases: dict[str, AliasRoute] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    _function_callbacks: list[Callable[[str, Revision | None], None]] = field(default_factory=list)
    _trigger_callbacks: list[Callable[[str, Trigger | None], None]] = field(default_factory=list)

    def on_function(self, callback: Callable[[str, Revision | None], None]) -> None:
        self._function_callbacks.append(callback)

    def on_trigger(self, callback: Callable[[str, Trigger | None], None]) -> None:
        self._trigger_callbacks.append(callback)

    def put(self, revision: Revision) -> None:
        self.functions[revision.key] = revision
        for callback in self._function_callbacks:
            callback(revision.key, revision)

    def delete(self, key: str) -> None:
        del self.functions[key]
        for callback in self._function_callbacks:
            callback(key, None)

    def put_http(self, name: str, function: str, path: str, methods: tuple[str, ...] = ("ANY",)) -> None:
        spec = {"function": {"name": function}, "http": {"path": path, "methods": list(methods)}}
        trigger = Trigger.model_validate({"metadata": {"name": name}, "spec": spec})
        self.triggers[f"default/{name}"] = trigger
        for callback in self._trigger_callbacks:
            callback(f"default/{name}", trigger)


def make_revision(
    name: str = "hello",
    revision: str = "r1",
    *,
    timeout: int = 3,
    reserved: int | None = None,
    **more: Any,
) -> Revision:
    return Revision(
        key=f"default/{name}", uid="u", revision=revision, code_sha256="", runtime="python3.13", handler="index.h",
        memory_mib=128, timeout_seconds=timeout, ephemeral_storage_mib=512, environment=Environment(),
        log_format="Text",
        concurrency_per_instance=1, idle_timeout_seconds=60, max_instances=100, reserved_concurrency=reserved,
        provisioned_concurrency=0, pod=PodSettings(), **more,
    )  # fmt: skip


class Scaler:
    """The scaler's two endpoints. `say` writes to the feed; `reports` is what was reported."""

    def __init__(self) -> None:
        self.instances: list[InstanceAddress] = []
        self.reports: list[DemandReport] = []
        self.on_demand: Callable[[DemandReport], Awaitable[None]] | None = None
        self.readers: set[asyncio.Queue[Message | None]] = set()
        self.port = free_port()  # which it gets again after a stop
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/demand", self._demand)
        app.router.add_get("/v1/instances", self._feed)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        for reader in self.readers:
            reader.put_nowait(None)
        assert self._runner is not None
        await self._runner.cleanup()

    def say(self, message: Message) -> None:
        if isinstance(message, Ready):
            self.instances.append(message.instance)
        for reader in self.readers:
            reader.put_nowait(message)

    async def _demand(self, request: web.Request) -> web.Response:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        report = DemandReport.model_validate_json(await request.read())
        self.reports.append(report)
        if self.on_demand is not None:
            await self.on_demand(report)
        return web.Response(status=204)

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[Message | None] = asyncio.Queue()
        queue.put_nowait(Snapshot(instances=self.instances))
        self.readers.add(queue)
        with contextlib.suppress(ConnectionError):
            while (message := await queue.get()) is not None:
                await response.write(message.model_dump_json().encode() + b"\n")
        self.readers.discard(queue)
        return response


class World:
    """All of it, and a client."""

    def __init__(self, limits: Limits | None = None, **settings: object) -> None:
        self._limits = limits
        self.catalog = Catalog()
        self.scaler = Scaler()
        self.slots: list[Slot | Recorder] = []
        self._settings = settings
        self._instances = 0

    async def start(self) -> None:
        await self.scaler.start()
        url = f"http://127.0.0.1:{self.scaler.port}"
        values = {"internal_token": TOKEN, "scaler_url": url, "port": 0, "host": "127.0.0.1", "shutdown_seconds": 1}
        settings = GatewaySettings.model_validate({**values, **self._settings})
        event_log = EventLog(settings.nats_url) if settings.nats_url else None
        scaler = ScalerClient(url, TOKEN, "gateway-0")
        self.gateway = Gateway(settings, self.catalog, scaler, event_log, self._limits)
        await self.gateway.start()
        self.url = f"http://127.0.0.1:{self.gateway.port}"
        self.http = httpx.AsyncClient(base_url=self.url, timeout=60)
        await until(lambda: bool(self.scaler.readers))

    async def stop(self) -> None:
        await self.http.aclose()
        await self.gateway.stop()
        await self.scaler.stop()
        for slot in self.slots:
            await slot.stop()

    async def slot(self, handler: Handler = echo) -> Slot:
        slot = await Slot(handler).start()
        self.slots.append(slot)
        return slot

    async def recorder(self, script: Script | None = None) -> "Recorder":
        recorder = Recorder(script or answer_well)
        await recorder.start()
        self.slots.append(recorder)
        return recorder

    def announce(self, *slots: "Slot | Recorder", function: str = "hello", revision: str = "r1") -> str:
        """Tell the gateway of an instance with these slots."""
        self._instances += 1
        name = f"i{self._instances}"
        ports = [slot.port for slot in slots]
        self.scaler.say(
            Ready(
                instance=InstanceAddress(
                    name=name,
                    function=f"default/{function}",
                    revision=revision,
                    host="127.0.0.1",
                    slots=ports,
                    token="t",
                )
            )
        )
        return name

    async def invoke(self, body: object = None, function: str = "hello", **headers: str) -> httpx.Response:
        path = f"/2015-03-31/functions/{function}/invocations"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(path, content=b"" if body is None else json.dumps(body), headers=named)

    def queued(self, count: int, function: str = "hello") -> bool:
        """Whether so many calls wait, by the newest report about this function."""
        key = f"default/{function}"
        newest = next((report for report in reversed(self.scaler.reports) if key in report.functions), None)
        return newest is not None and newest.functions[key].queued == count

    def was_queued(self, count: int, function: str = "hello") -> bool:
        """Whether so many calls waited, by any report so far."""
        key = f"default/{function}"
        return any(key in one.functions and one.functions[key].queued == count for one in self.scaler.reports)

    async def raw(self, data: bytes, *, until_closed: bool = True) -> bytes:
        """Send bytes on a connection of their own; everything that comes back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        writer.write(data)
        answer = await asyncio.wait_for(reader.read() if until_closed else reader.read(65536), 60)
        writer.close()
        return answer


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition of the real world."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(limits: Limits | None = None, **settings: object) -> AsyncIterator[World]:
    world = World(limits, **settings)
    await world.start()
    try:
        yield world
    finally:
        await world.stop()
