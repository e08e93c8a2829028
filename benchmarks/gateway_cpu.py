"""Prints the gateway's CPU time per warm invocation, beside a bare uvloop and httptools proxy in the same run.

Three processes on loopback: callers, the gateway (or the bare proxy), and slots that answer at once. Measured is the
CPU time of the one in the middle, from /proc. Budget: 25 µs.

    .venv/bin/python benchmarks/gateway_cpu.py [--calls 20000] [--callers 16]
"""

import argparse
import asyncio
import contextlib
import functools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import httptools
import uvloop

ROOT = Path(__file__).parents[1]
BUDGET_US = 25
REQUEST = (
    b"POST /2015-03-31/functions/hello/invocations HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept-Encoding: identity\r\n"
    b"User-Agent: Boto3/1.40 md/Botocore#1.40 ua/2.1 os/linux lang/python#3.13\r\nX-Amz-Date: 20250101T000000Z\r\n"
    b"Authorization: AWS4-HMAC-SHA256 Credential=a/20250101/us-east-1/lambda/aws4_request, SignedHeaders=host, "
    b"Signature=0\r\n"
    b"amz-sdk-invocation-id: 7c2a\r\namz-sdk-request: attempt=1\r\nContent-Length: 17\r\n\r\n" + b'{"name": "World"}'
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\nx-funclet-duration-us: 41\r\n"
    b"x-funclet-max-memory-mib: 12\r\n\r\n" + b'"Hello, World!"'
)


class Slot(asyncio.Protocol):
    """Answers each request (one write of its client) at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER)


class Caller(asyncio.Protocol):
    """Sends the next request when the answer to the last one is there."""

    def __init__(self, count: int, done: "asyncio.Future[None]") -> None:
        self.left = count
        self.done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 200"), data
        self.left -= 1
        if self.left:
            self.transport.write(REQUEST)
        else:
            self.transport.close()
            self.done.set_result(None)


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
    """The least that a proxy does: parse, pass on, parse, pass back."""

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


async def serve_bare(slots: list[int]) -> None:
    """The bare proxy's process."""
    loop = asyncio.get_running_loop()
    for port in slots:
        _, upstream = await loop.create_connection(Upstream, "127.0.0.1", port)
        free.append(upstream)
    server = await loop.create_server(BareProxy, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


async def serve_gateway(slots: list[int]) -> None:
    """The gateway's process, with one function whose instances have these slots."""
    sys.path[:0] = [str(ROOT), str(ROOT / "operator")]
    from tests.adapters.gateway_world import Catalog, Scaler, Slot, make_revision, until

    from funclet.adapters.scaler_client import ScalerClient
    from funclet.gateway.main import settle_garbage
    from funclet.gateway.role import Gateway
    from funclet.gateway.settings import GatewaySettings

    scaler = Scaler()
    await scaler.start()
    world_slots = [Slot() for _ in slots]
    for slot, port in zip(world_slots, slots, strict=True):
        slot.port = port
        scaler.instances.append(address(f"i{port}", port))
    catalog = Catalog()
    catalog.put(make_revision())
    url = f"http://127.0.0.1:{scaler.port}"
    settings = GatewaySettings(internal_token="internal", scaler_url=url, port=0, host="127.0.0.1")
    gateway = Gateway(settings, catalog, ScalerClient(url, "internal", "gateway-0"))
    await gateway.start()
    await until(lambda: bool(scaler.readers))
    settle_garbage()
    print(gateway.port, flush=True)
    await asyncio.Event().wait()


def address(name: str, port: int):  # type: ignore[no-untyped-def]
    from funclet.core.messages import InstanceAddress

    return InstanceAddress(
        name=name, function="default/hello", revision="r1", host="127.0.0.1", slots=[port], token="t"
    )


async def serve_slots(count: int) -> None:
    """The instances' process."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Slot, "127.0.0.1", 0) for _ in range(count)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.Event().wait()


async def call(port: int, calls: int, callers: int) -> None:
    """The callers' process: this one."""
    loop = asyncio.get_running_loop()
    done = [loop.create_future() for _ in range(callers)]
    for future in done:
        await loop.create_connection(functools.partial(Caller, calls // callers, future), "127.0.0.1", port)
    await asyncio.gather(*done)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def process(*arguments: object):  # type: ignore[no-untyped-def]
    """A child that has printed its ports."""
    command = [sys.executable, __file__, *map(str, arguments)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        yield child.pid, [int(port) for port in child.stdout.readline().split()]
    finally:
        child.kill()
        child.wait()


def measure(kind: str, slots: list[int], calls: int, callers: int) -> tuple[float, float]:
    """CPU µs per call of the process in the middle, and calls a second."""
    with process(kind, *slots) as (pid, [port]):
        uvloop.run(call(port, 2000, callers))
        begin, begun = cpu_seconds(pid), time.perf_counter()
        uvloop.run(call(port, calls, callers))
        return (cpu_seconds(pid) - begin) / calls * 1e6, calls / (time.perf_counter() - begun)


def main() -> int:
    """Measure both, print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=32000)
    parser.add_argument("--callers", type=int, default=16)
    options = parser.parse_args()
    with process("slots", options.callers) as (_, slots):
        bare_us, bare_rate = measure("bare", slots, options.calls, options.callers)
        gateway_us, rate = measure("gateway", slots, options.calls, options.callers)
    print(f"bare proxy {bare_us:5.1f} µs CPU a call, {bare_rate:7.0f} calls/s")
    print(
        f"gateway    {gateway_us:5.1f} µs CPU a call, {rate:7.0f} calls/s; budget {BUDGET_US} µs; "
        f"{gateway_us / bare_us:.2f} × bare"
    )
    return 0 if gateway_us <= BUDGET_US else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["slots"]:
        uvloop.run(serve_slots(int(sys.argv[2])))
    elif sys.argv[1:2] in (["bare"], ["gateway"]):
        serve = serve_bare if sys.argv[1] == "bare" else serve_gateway
        uvloop.run(serve([int(port) for port in sys.argv[2:]]))
    else:
        sys.exit(main())
