"""Usage is counted once and for all: in the journal through kill -9, in the ledger of a real nats-server."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from click.testing import CliRunner
from nats.aio.client import Client
from tests.adapters.gateway_world import Slot, until

from funclet.adapters.event_streams import StreamPolicy, make_streams
from funclet.adapters.jetstream import connect
from funclet.adapters.metrics import InvocationMeters
from funclet.adapters.nats_server import NatsServer
from funclet.adapters.usage_journal import FIRST_ENTRIES, UsageJournal
from funclet.adapters.usage_ledger import UsageLedger, read_ledger
from funclet.cli.main import main
from funclet.core.usage import HourOfUsage, Usage, sum_by_function
from funclet.gateway.usage import UsageReporter

HOUR = 3600.0
CALLERS = 6
KILLS = int(os.environ.get("FUNCLET_CHAOS_KILLS", "4"))
"""Of the test below; more for a longer look."""


def test_a_journal_goes_on_where_a_killed_process_left_it(tmp_path: Path) -> None:
    path = tmp_path / "usage"
    code = f"""
import os, signal
from pathlib import Path
from funclet.adapters.usage_journal import UsageJournal
journal = UsageJournal(Path({str(path)!r}))
for number in range(200):
    for _ in range(number + 1):
        journal.entry(f"n/f-{{number}}", 7).count(3, 384, failed=number == 0)
print(journal.gateway, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    journal = UsageJournal(path)
    assert journal.gateway == killed.stdout.strip()
    told = {entry.key: entry.so_far() for entry in journal.take_changed()}
    assert len(told) == 200
    assert told["n/f-0"] == HourOfUsage(journal.gateway, 7, "n/f-0", Usage(1, 1, 3, 384))
    assert told["n/f-199"].usage == Usage(200, 0, 600, 200 * 384)
    journal.close()


def test_the_longest_keys_are_told_apart(tmp_path: Path) -> None:
    """Names are DNS labels of 63 characters at most, and versions are numbers."""
    keys = [f"{'n' * 63}/{'f' * 63}:{version}" for version in ("1", "18446744073709551615")]
    journal = UsageJournal(tmp_path / "usage")
    for key in keys:
        journal.entry(key, 7).count(3, 384, failed=False)
    journal.close()
    again = UsageJournal(tmp_path / "usage")
    assert sorted(entry.key for entry in again.take_changed()) == sorted(keys)
    assert {entry.so_far().usage for entry in again.entries()} == {Usage(1, 0, 3, 384)}
    again.close()


def test_processes_of_one_machine_have_journals_of_their_own(tmp_path: Path) -> None:
    one, other = UsageJournal(tmp_path / "usage"), UsageJournal(tmp_path / "usage")
    assert one.gateway != other.gateway
    assert {file.name for file in tmp_path.iterdir()} == {"usage", "usage.1"}
    one.close()
    again = UsageJournal(tmp_path / "usage")
    assert again.gateway == one.gateway
    again.close()
    other.close()


def test_a_journal_in_memory_grows_too() -> None:
    journal = UsageJournal()
    for number in range(FIRST_ENTRIES * 3):
        journal.entry(f"n/f-{number}", 1).count(number, 1, failed=False)
    journal.entry("n/f-0", 1).count(5, 1, failed=True)
    assert journal.entry("n/f-0", 1).so_far().usage == Usage(2, 1, 5, 2)
    assert len(journal.take_changed()) == FIRST_ENTRIES * 3
    assert journal.take_changed() == []
    journal.close()


async def test_what_is_told_twice_is_there_once(client: Client) -> None:
    ledger = UsageLedger(client)
    first = HourOfUsage("a", 10, "shop/pay", Usage(5, 1, 50, 6400))
    await ledger.store([first, HourOfUsage("b", 10, "shop/pay", Usage(1, 0, 7, 896))])
    await ledger.store([first])
    await ledger.store([HourOfUsage("a", 10, "shop/pay", Usage(6, 1, 60, 7680))])
    assert sum_by_function(await read_ledger(client)) == {"shop/pay": Usage(7, 1, 67, 8576)}


async def test_a_large_ledger_is_read_whole(client: Client) -> None:
    hours = [HourOfUsage("a", number, f"n/f-{number % 7}", Usage(1, 0, 2, 256)) for number in range(2500)]
    await UsageLedger(client).store(hours)
    assert sorted(await read_ledger(client), key=lambda one: one.hour) == hours


async def test_each_hour_has_its_own_count(server: NatsServer, client: Client) -> None:
    now = [10 * HOUR]
    meters = InvocationMeters()
    reporter = UsageReporter(meters, UsageJournal(), server.url, clock=lambda: now[0])
    await reporter.start()
    meters.of("n/f").count_run(900, 1, 128, failed=False)
    meters.of("n/sleeps").count_run(900, 1, 128, failed=False)
    await told(client, "n/f", 1)
    now[0] = 11 * HOUR
    meters.of("n/f").count_run(1900, 2, 128, failed=False)
    await told(client, "n/f", 2)
    meters.of("n/f").count_run(1900, 2, 128, failed=True)
    meters.of("n/sleeps").count_run(900, 1, 128, failed=False)
    await reporter.stop()
    found = await read_ledger(client)
    assert sum_by_function(found) == {"n/f": Usage(3, 1, 5, 640), "n/sleeps": Usage(2, 0, 2, 256)}
    assert sum_by_function(found, since=11)["n/sleeps"] == Usage(1, 0, 1, 128)


async def test_what_cannot_be_told_is_told_later(tmp_path: Path) -> None:
    store, journal, meters = tmp_path / "jetstream", tmp_path / "usage", InvocationMeters()
    first = NatsServer(store)
    await first.start()
    await first.stop()
    reporter = UsageReporter(meters, UsageJournal(journal), first.url)
    await reporter.start()
    meters.of("n/f").count_run(900, 1, 128, failed=False)
    await reporter.stop()
    server = NatsServer(store)
    await server.start()
    client = await connect(server.url)
    await make_streams(client, StreamPolicy())
    successor = UsageReporter(meters, UsageJournal(journal), server.url)
    await successor.start()
    meters.of("n/f").count_run(900, 1, 128, failed=False)
    await told(client, "n/f", 2)
    await successor.stop()
    assert sum_by_function(await read_ledger(client)) == {"n/f": Usage(2, 0, 2, 256)}
    await client.close()
    await server.stop()


async def told(client: Client, key: str, invocations: int) -> None:
    """Returns once the ledger has so many."""
    async with asyncio.timeout(60):
        while sum_by_function(await read_ledger(client)).get(key, Usage()).invocations < invocations:
            await asyncio.sleep(0.05)


@dataclass
class Told:
    """What callers were told: the billed milliseconds of each answer, and how many calls nobody knows the end of."""

    billed_ms: list[int] = field(default_factory=list)
    unknown: int = 0


async def call(port: list[int], told: Told, stopped: asyncio.Event) -> None:
    """One call after another at the gateway of the moment."""
    async with httpx.AsyncClient(timeout=10) as http:
        while not stopped.is_set():
            try:
                answer = await http.post(f"http://127.0.0.1:{port[0]}/2015-03-31/functions/hello/invocations")
            except httpx.ConnectError:
                await asyncio.sleep(0.01)
            except httpx.TransportError:
                told.unknown += 1
            else:
                assert answer.status_code == 200, answer.text
                told.billed_ms.append(int(answer.headers["x-funclet-billed-ms"]))


async def test_kill_9_of_the_gateway_loses_nothing_and_doubles_nothing(
    server: NatsServer, client: Client, tmp_path: Path
) -> None:
    async def work(_: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        duration_us = random.randint(1, 20_000)
        await asyncio.sleep(duration_us / 4_000_000)
        return {"x-funclet-duration-us": str(duration_us)}, body

    slots = [await Slot(work).start() for _ in range(CALLERS)]
    command = (sys.executable, "-m", "tests.adapters.usage_gateway", server.url, str(tmp_path / "usage"))
    port, told, stopped = [0], Told(), asyncio.Event()
    callers: list[asyncio.Task[None]] = []
    for number in range(KILLS + 1):
        gateway = await asyncio.create_subprocess_exec(
            *command, *(str(slot.port) for slot in slots), stdout=asyncio.subprocess.PIPE
        )
        assert gateway.stdout is not None
        port[0] = int(await gateway.stdout.readline())
        callers = callers or [asyncio.create_task(call(port, told, stopped)) for _ in range(CALLERS)]
        if number < KILLS:
            await answered(told, random.randint(20, 150))
            gateway.kill()
            await gateway.wait()
    stopped.set()
    await asyncio.gather(*callers)
    await told_by_all(client, len(told.billed_ms))
    gateway.kill()
    await gateway.wait()
    for slot in slots:
        await slot.stop()
    ledger = sum_by_function(await read_ledger(client))["default/hello"]
    assert 0 <= ledger.invocations - len(told.billed_ms) <= told.unknown
    assert 0 <= ledger.billed_ms - sum(told.billed_ms) <= told.unknown * 20
    assert ledger.mib_ms == ledger.billed_ms * 128


async def answered(told: Told, more: int) -> None:
    """Returns once callers have so many answers more."""
    goal = len(told.billed_ms) + more
    await until(lambda: len(told.billed_ms) >= goal)


async def told_by_all(client: Client, invocations: int) -> None:
    """Returns once the ledger has all that callers were told of."""
    await told(client, "default/hello", invocations)


def test_the_command_sums_up(nats_url: str) -> None:
    asyncio.run(fill(nats_url))
    runner = CliRunner()
    done = runner.invoke(main, ["usage", "--nats", nats_url, "-n", "shop", "--since", "1970-01-01T10", "--json"])
    assert done.exit_code == 0, done.output
    assert done.output == (
        '{"function": "shop/pay", "invocations": 5, "errors": 1, "billedMs": 50, "gbSeconds": 0.00625, '
        '"usd": 1.1e-06}\n'
    )
    wrong = runner.invoke(main, ["usage", "--nats", "nats://127.0.0.1:1"])
    assert wrong.exit_code == 1
    assert "cannot read the usage ledger at nats://127.0.0.1:1" in wrong.output


async def fill(nats_url: str) -> None:
    client = await connect(nats_url)
    await make_streams(client, StreamPolicy())
    usage = Usage(5, 1, 50, 6400)
    await UsageLedger(client).store(
        [HourOfUsage("a", 10, "shop/pay", usage), HourOfUsage("a", 9, "shop/pay", usage),
         HourOfUsage("a", 10, "blog/post", usage)]
    )  # fmt: skip
    await client.close()
