"""The servers of the benchmarks on loopback, each a process: python -m benchmarks.servers NAME …

    slots COUNT MS           instances' slots, whose answer takes so many milliseconds
    bare PORT…               the least that a proxy in Python does
    workers COUNT PORT…      a supervisor with so many gateways, and one function for each of these slots
    replicas COUNT PORT…     the same with gateways on ports of their own
    scaler TOKEN NAME=PORT…  what tells a gateway of instances of these functions with a slot at each port
    gateway PORT NAME=PORT…  Funclet's gateway beside the scaler on this port
    receiver                 takes what is posted to it, such as spans
    runtime_api EVERY        AWS's Runtime API, always with an invocation ready; tells of each EVERY-th response

Each prints its ports.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, cast

import httptools
import uvloop
from tests.ports import free_port

from benchmarks.processes import START_SECONDS, answers
from benchmarks.warm_path import Incoming
from funclet.adapters.parentage import be_killed_with_parent

if TYPE_CHECKING:
    from tests.adapters.peers_world import FeedingScaler

    from funclet.core.messages import InstanceAddress

PING_SECONDS = 5.0
"""As the scaler does: a feed that says nothing for 15 s is lost to a gateway, and begun anew."""

ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\nx-funclet-duration-us: 41\r\n"
    b"x-funclet-max-memory-mib: 12\r\n\r\n" + b'"Hello, World!"'
)

NEXT = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    b"Lambda-Runtime-Aws-Request-Id: 8f507cfc-8697-4697-b07a-ac58fc914c95\r\n"
    b"Lambda-Runtime-Deadline-Ms: 4102444800000\r\n"
    b"Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:hello\r\n"
    b"Lambda-Runtime-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0\r\n"
    b'content-length: 17\r\n\r\n{"name": "World"}'
)


class Slot(Incoming):
    """Answers each request, at once or after a while."""

    seconds = 0.0

    def received(self, message: bytes) -> None:
        if self.seconds:
            asyncio.get_running_loop().call_later(self.seconds, self.transport.write, ANSWER)
        else:
            self.transport.write(ANSWER)


async def serve_slots(count: str, milliseconds: str) -> None:
    """The instances' process."""
    Slot.seconds = int(milliseconds) / 1000
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Slot, "127.0.0.1", 0) for _ in range(int(count))]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.Event().wait()


class Upstream(asyncio.Protocol):
    """The bare proxy's kept-alive connection."""

    client: asyncio.Transport

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        free.append(self)
        self.client.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )


free: list[Upstream] = []


class BareProxy(asyncio.Protocol):
    """Parse, pass on, parse, pass back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.parser = httptools.HttpRequestParser(self)
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        body, self.body, self.headers = self.body, b"", []
        upstream = free.pop()
        upstream.client = self.transport
        upstream.transport.write(b"POST /invoke HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


async def serve_bare(*slots: str) -> None:
    """The bare proxy's process."""
    loop = asyncio.get_running_loop()
    for port in slots:
        _, upstream = await loop.create_connection(Upstream, "127.0.0.1", int(port))
        free.append(upstream)
    server = await loop.create_server(BareProxy, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


async def serve_scaler(token: str, *slots: str) -> None:
    """A test's scaler, which tells the gateway of these instances."""
    from tests.adapters.gateway_world import Scaler

    from funclet.core.messages import Ping

    scaler = Scaler()
    for slot in slots:
        function, _, port = slot.partition("=")
        scaler.instances.append(instance_address(function, int(port), token))
    await scaler.start()
    print(scaler.port, flush=True)
    while True:
        await asyncio.sleep(PING_SECONDS)
        scaler.say(Ping())


async def serve_gateway(scaler_port: str, *slots: str) -> None:
    """The gateway as `python -m funclet gateway` runs it, with its usage journal.

    With FUNCLET_NATS_URL it accepts events, and by OpenTelemetry's variables it exports spans.
    """
    from tests.adapters.gateway_world import Catalog, make_revision

    from funclet.adapters import garbage
    from funclet.adapters.event_log import EventLog
    from funclet.adapters.metrics import INVOCATIONS
    from funclet.adapters.otlp.exporter import open_exporter
    from funclet.adapters.scaler_client import ScalerClient
    from funclet.adapters.usage_journal import UsageJournal
    from funclet.gateway.role import Gateway
    from funclet.gateway.settings import GatewaySettings
    from funclet.gateway.usage import UsageReporter

    catalog = Catalog()
    for slot in slots:
        catalog.put(make_revision(slot.partition("=")[0]))
    url = f"http://127.0.0.1:{scaler_port}"
    settings = GatewaySettings(internal_token="internal", scaler_url=url, port=0, host="127.0.0.1")
    nats_url = os.environ.get("FUNCLET_NATS_URL")
    event_log = EventLog(nats_url) if nats_url else None
    spans = open_exporter("gateway")
    gateway = Gateway(settings, catalog, ScalerClient(url, "internal", "gateway-0"), event_log, spans=spans)
    await UsageReporter(INVOCATIONS, UsageJournal(None), None).start()
    if spans is not None:
        await spans.start()
    await gateway.start()
    garbage.settle()
    print(gateway.port, flush=True)
    await asyncio.Event().wait()


async def serve_workers(processes: str, *slots: str) -> None:
    """A supervisor and its workers, with as many functions f0, f1, … as there are slots; the scaler's real feed."""
    from tests.adapters.gateway_process import PROGRAM
    from tests.adapters.gateway_world import until

    from funclet.gateway.settings import GatewaySettings
    from funclet.gateway.supervisor import Supervisor

    scaler = await start_scaler(slots)
    settings = GatewaySettings(
        internal_token="internal", scaler_url=scaler.url, port=0, metrics_port=0, processes=int(processes)
    )
    supervisor = Supervisor(settings, (sys.executable, PROGRAM))
    await supervisor.start()
    await until(lambda: len(scaler.gateways) == int(processes), START_SECONDS)
    print(supervisor.port, flush=True)
    await asyncio.Event().wait()


async def serve_replicas(count: str, *slots: str) -> None:
    """Gateways as in pods of their own: they pass calls on to each other."""
    from tests.adapters.gateway_process import PROGRAM
    from tests.adapters.gateway_world import until

    scaler = await start_scaler(slots)
    ports = [free_port() for _ in range(int(count))]
    for port in ports:
        own = {"FUNCLET_PORT": str(port), "FUNCLET_METRICS_PORT": str(free_port()), "FUNCLET_NAME": f"gateway-{port}"}
        environment = {**os.environ, **own, "FUNCLET_PEER_PORT": str(free_port())}
        await asyncio.create_subprocess_exec(sys.executable, PROGRAM, env=environment, preexec_fn=be_killed_with_parent)
    await until(lambda: len(scaler.gateways) == len(ports) and all(map(answers, ports)), START_SECONDS)
    print(*ports, flush=True)
    await asyncio.Event().wait()


async def start_scaler(slots: Sequence[str]) -> "FeedingScaler":
    """The scaler of the gateways that are started next, with a function f0, f1, … for each slot."""
    from tests.adapters.peers_world import FeedingScaler

    scaler = await FeedingScaler().start()
    names = [f"f{number}" for number in range(len(slots))]
    for name, port in zip(names, slots, strict=True):
        scaler.instances.append(instance_address(name, int(port), "t"))
    os.environ |= {
        "FUNCTIONS": json.dumps({name: {} for name in names}),
        "FUNCLET_INTERNAL_TOKEN": "internal",
        "FUNCLET_SCALER_URL": scaler.url,
    }
    return scaler


def instance_address(function: str, port: int, token: str) -> "InstanceAddress":
    """One instance with one slot."""
    from funclet.core.messages import InstanceAddress

    return InstanceAddress(
        name=f"i{port}", function=f"default/{function}", revision="r1", host="127.0.0.1", slots=[port], token=token
    )


class RuntimeApi(Incoming):
    """`next` and `response`; prints a line with each so many responses.

    https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
    """

    count = 0
    every = 1

    def received(self, message: bytes) -> None:
        if message.startswith(b"GET /2018-06-01/runtime/invocation/next "):
            self.transport.write(NEXT)
        elif message.startswith(b"POST /2018-06-01/runtime/invocation/") and b"Hello, World" in message:
            self.transport.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
            RuntimeApi.count += 1
            if RuntimeApi.count % RuntimeApi.every == 0:
                print(RuntimeApi.count, flush=True)
        else:
            sys.exit(f"not expected: {message!r}")


async def serve_runtime_api(every: str) -> None:
    """The Runtime API's process."""
    RuntimeApi.every = int(every)
    server = await asyncio.get_running_loop().create_server(RuntimeApi, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


class Receiver(Incoming):
    """Says that it has taken it."""

    def received(self, message: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


async def serve_receiver() -> None:
    """The receiver's process."""
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


SERVERS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "receiver": serve_receiver,
    "runtime_api": serve_runtime_api,
    "slots": serve_slots,
    "bare": serve_bare,
    "scaler": serve_scaler,
    "gateway": serve_gateway,
    "workers": serve_workers,
    "replicas": serve_replicas,
}

if __name__ == "__main__":
    uvloop.run(SERVERS[sys.argv[1]](*sys.argv[2:]))
