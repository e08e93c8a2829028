#!/usr/bin/env python3
"""The demo: `funclet local examples/hello/`, called, flooded and left alone, with what it does on the screen.

Beside the example runs a worker that takes a quarter of a second for each batch of the same queue: the example's
handler is so fast that one instance would keep up with everything. Exits with 1 when something did not happen.
"""

import asyncio
import contextlib
import json
import signal
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import nats
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.live import Live
from rich.table import Table

from funclet.adapters.parentage import be_terminated_with_parent
from funclet.core.cost import invocation_cost_usd

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "hello"
STREAM = "ORDERS"
WARM_CALLS = 200
MESSAGES = 200
BURST = 20
BURST_PAUSE_SECONDS = 0.15
START_SECONDS = 30.0
DRAIN_SECONDS = 60.0
TO_ZERO_SECONDS = 90.0
"""The example's idle timeout may be the default of a minute."""
FUNCTIONS = ("hello", "worker")

WORKER = """\
apiVersion: funclet.dev/v1
kind: Function
metadata: {name: worker}
spec:
  runtime: python3.13
  handler: index.handler
  timeout: 10
  memorySize: 512
  code:
    inline: |
      import time
      def handler(event, context):
          time.sleep(0.25)
  scaling: {maxInstances: 6, idleTimeoutSeconds: 2}
---
apiVersion: funclet.dev/v1
kind: Trigger
metadata: {name: worker-orders}
spec:
  function: {name: worker}
  jetstream: {stream: ORDERS, subject: "orders.*", batchSize: 5}
"""

console = Console(highlight=False)


class DemoError(Exception):
    """Something that the demo promises did not happen."""


@dataclass
class House:
    """The running `funclet local`."""

    process: Process
    url: str = ""
    nats_url: str = ""
    metrics_url: str = ""
    said: list[str] = field(default_factory=list)
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=70))

    async def invoke(self, name: str, payload: dict[str, object]) -> tuple[httpx.Response, float]:
        """The answer and what the caller waited, in milliseconds."""
        began = time.perf_counter()
        answer = await self.http.post(f"{self.url}/2015-03-31/functions/{name}/invocations", json=payload)
        return answer, (time.perf_counter() - began) * 1000

    async def metrics(self) -> "Metrics":
        """All metrics, as they are now."""
        return Metrics((await self.http.get(self.metrics_url)).text)

    async def instances(self, name: str) -> int:
        """Instances of a function now."""
        return round((await self.metrics()).sum("funclet_instances", name))


class Metrics:
    """One reading of /metrics."""

    def __init__(self, text: str) -> None:
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def sum(self, name: str, function: str) -> float:
        """The sum over all other labels."""
        return sum(one.value for one in self._samples if one.name == name and one.labels.get("function") == function)


@contextlib.asynccontextmanager
async def running_house(*paths: Path) -> AsyncIterator[House]:
    """`funclet local` as a child; ended with Ctrl-C, as a user would."""
    command = [str(Path(sys.executable).with_name("funclet")), "local", *map(str, paths), "--port", "0"]
    console.print(f"[dim]$ funclet local {EXAMPLE.relative_to(ROOT)}/ --port 0[/]")
    process = await asyncio.create_subprocess_exec(
        *command, stdout=PIPE, stderr=PIPE, start_new_session=True, preexec_fn=be_terminated_with_parent
    )
    house = House(process)
    listener = asyncio.create_task(_listen(house))
    try:
        async with asyncio.timeout(START_SECONDS):
            house.url = await _read_address(house)
            house.nats_url = await _read_address(house)
            house.metrics_url = await _read_address(house)
        yield house
    except BaseException:
        console.print("\n".join(house.said[-30:]), style="dim", markup=False)
        raise
    finally:
        await house.http.aclose()
        await _end(process)
        await listener


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(15):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _read_address(house: House) -> str:
    assert house.process.stdout is not None
    line = (await house.process.stdout.readline()).decode().strip()
    if not line:
        raise DemoError("funclet local did not start")
    console.print(f"[dim]{line}[/]")
    return line.split()[-1]


async def _listen(house: House) -> None:
    assert house.process.stderr is not None
    async for line in house.process.stderr:
        house.said.append(line.decode(errors="replace").rstrip())


async def until_ready(house: House) -> None:
    """Returns when all functions and their triggers are there, which `funclet local` says on standard error."""
    wanted = [*(f"Function default/{name} is ready" for name in FUNCTIONS)]
    wanted += [f"Trigger default/{name} is ready" for name in ("hello-http", "hello-orders", "worker-orders")]

    async def said_all() -> bool:
        return all(any(line.startswith(text) for line in house.said) for text in wanted)

    await until(said_all, START_SECONDS, "the functions and triggers did not become ready")


async def show_calls(house: House) -> None:
    """The first call from nothing, then warm ones, then the HTTP route."""
    console.rule("[bold]From zero")
    console.print(f"Instances of [bold]hello[/]: {await house.instances('hello')}")
    answer, waited_ms = await house.invoke("hello", {"name": "World"})
    expect(answer.status_code == 200 and "Hello, World!" in answer.text, f"hello answered {answer.text}")
    expect("x-funclet-init-ms" in answer.headers, "the first call found an instance that was there already")
    console.print(f"First call [dim](cold)[/]: [bold green]{waited_ms:.1f} ms[/]  {answer.json()}")

    latencies = []
    for _ in range(WARM_CALLS):
        answer, waited_ms = await house.invoke("hello", {"name": "again"})
        expect(answer.status_code == 200, f"a warm call answered {answer.status_code} {answer.text}")
        latencies.append(waited_ms)
    p50, p99 = statistics.median(latencies), statistics.quantiles(latencies, n=100)[98]
    console.print(f"{WARM_CALLS} warm calls: p50 [bold green]{p50:.2f} ms[/], p99 [bold green]{p99:.2f} ms[/]")

    route = f"{house.url}/hello/Ada"
    answer = await house.http.get(route)
    expect(answer.status_code == 200 and "Welcome" in answer.text, f"{route} answered {answer.status_code}")
    console.print(f"[dim]$ curl {route}[/]\n{answer.text}")


async def await_readers(jetstream: JetStreamContext) -> None:
    """Returns when both functions read the queue."""

    async def is_read() -> bool:
        return await _find_consumers(jetstream) == len(FUNCTIONS)

    await until(is_read, START_SECONDS, f"nobody reads the stream {STREAM}")


async def publish(jetstream: JetStreamContext) -> None:
    """Fills the queue in bursts, so that the instances can be seen to follow."""
    for first in range(0, MESSAGES, BURST):
        for number in range(first, first + BURST):
            await jetstream.publish(f"orders.{number}", json.dumps({"name": f"order {number}"}).encode())
        await asyncio.sleep(BURST_PAUSE_SECONDS)


async def _find_consumers(jetstream: JetStreamContext) -> int:
    try:
        return len(await jetstream.consumers_info(STREAM))
    except NotFoundError:
        return 0


async def depth(client: Client) -> int:
    """The most messages that one of the readers has left."""
    infos = await client.jetstream().consumers_info(STREAM)
    return max((info.num_pending or 0) + (info.num_ack_pending or 0) for info in infos)


@dataclass
class Peak:
    """The most that was seen."""

    instances: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FUNCTIONS, 0))

    def note(self, now: dict[str, int]) -> None:
        self.instances = {name: max(self.instances[name], count) for name, count in now.items()}


async def show_queue(house: House) -> None:
    """Publishes, and shows depth and instances until the queue is empty and the worker is back at zero."""
    console.rule(f"[bold]{MESSAGES} messages to the queue {STREAM}")
    client = await nats.connect(house.nats_url)
    try:
        await await_readers(client.jetstream())
        publishing = asyncio.create_task(publish(client.jetstream()))
        peak = Peak()
        await follow(house, client, peak, publishing)
    finally:
        await client.close()
    seen = ", ".join(f"{name} {count}" for name, count in peak.instances.items())
    console.print(f"All {MESSAGES} messages handled by both functions. Most instances: [bold green]{seen}[/]")
    expect(peak.instances["worker"] > 1, "the worker was not scaled out")


async def follow(house: House, client: Client, peak: Peak, publishing: asyncio.Task[None]) -> None:
    """The moving picture; lines where standard output is no terminal."""
    began = time.monotonic()
    last = ""
    with Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else _Still() as live:
        while True:
            left = await depth(client)
            now = {name: await house.instances(name) for name in FUNCTIONS}
            peak.note(now)
            seconds = time.monotonic() - began
            if console.is_terminal:
                live.update(picture(left, now, seconds), refresh=True)
            elif (line := f"queue {left:4}   hello {now['hello']}   worker {now['worker']}") != last:
                console.print(f"{seconds:5.1f} s   {line}")
                last = line
            if publishing.done() and left == 0 and now["worker"] == 0 and peak.instances["worker"]:
                return publishing.result()
            expect(seconds < DRAIN_SECONDS, f"{left} messages and {now} instances after {DRAIN_SECONDS:.0f} s")
            await asyncio.sleep(0.1)


class _Still:
    """In the place of Live where nothing can move."""

    def __enter__(self) -> "_Still":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def update(self, *_: object, **__: object) -> None:
        return


def picture(left: int, instances: dict[str, int], seconds: float) -> Table:
    """Queue depth and instances as bars."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_row("queue depth", f"[yellow]{'█' * round(left / MESSAGES * 50)}[/]", str(left))
    for name, count in instances.items():
        table.add_row(f"instances of {name}", f"[green]{'■ ' * count}[/]", str(count))
    table.add_row("[dim]time[/]", "", f"[dim]{seconds:.1f} s[/]")
    return table


async def show_zero(house: House) -> None:
    """Waits until nothing runs."""
    console.rule("[bold]Back to zero")
    began = time.monotonic()

    async def are_gone() -> bool:
        return not any([await house.instances(name) for name in FUNCTIONS])

    with console.status("waiting until hello has been idle for its idleTimeoutSeconds"):
        await until(are_gone, TO_ZERO_SECONDS, "the functions were not scaled to zero")
    console.print(f"No instance is left, {time.monotonic() - began:.1f} s later. Both functions are still ready.")


async def show_bill(house: House) -> None:
    """What it would have cost."""
    console.rule("[bold]The bill")
    metrics = await house.metrics()
    table = Table("function", "invocations", "cold starts", "billed ms", "GB-seconds", "US dollars")
    for column in table.columns[1:]:
        column.justify = "right"
    for name in FUNCTIONS:
        calls = round(metrics.sum("funclet_invocations_total", name))
        gb_seconds = metrics.sum("funclet_gb_seconds_total", name)
        billed_ms = metrics.sum("funclet_billed_milliseconds_total", name)
        expect(billed_ms >= calls > 0, f"{name} was billed {billed_ms} ms for {calls} invocations")
        table.add_row(
            name,
            f"{calls:,}",
            f"{metrics.sum('funclet_cold_starts_total', name):.0f}",
            f"{billed_ms:,.0f}",
            f"{gb_seconds:.6f}",
            f"{invocation_cost_usd(gb_seconds, calls):.8f}",
        )
    console.print(table)
    console.print("[dim]US dollars: what AWS Lambda takes for it (x86, us-east-1, first tier, no free tier).[/]")


async def until(ask: Callable[[], Awaitable[bool]], seconds: float, otherwise: str) -> None:
    """Returns when it is so; ends the demo when it does not become so in time."""
    deadline = time.monotonic() + seconds
    while True:
        if await ask():
            return
        expect(time.monotonic() < deadline, otherwise)
        await asyncio.sleep(0.05)


def expect(so: bool, otherwise: str) -> None:
    """Ends the demo when it does not show what it promises."""
    if not so:
        raise DemoError(otherwise)


async def demo() -> None:
    """All of it, in order."""
    with tempfile.TemporaryDirectory(prefix="funclet-demo-") as folder:
        (Path(folder) / "worker.yaml").write_text(WORKER)
        async with running_house(EXAMPLE, Path(folder)) as house:
            await until_ready(house)
            await show_calls(house)
            await show_queue(house)
            await show_zero(house)
            await show_bill(house)


def main() -> int:
    try:
        asyncio.run(demo())
    except (DemoError, TimeoutError, httpx.HTTPError, nats.errors.Error) as error:
        console.print(f"[bold red]The demo failed:[/] {error or type(error).__name__}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
