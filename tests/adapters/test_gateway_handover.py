"""Processes of one machine: a caller's connection goes over to the home of the functions that it calls."""

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator

import pytest
from tests.adapters.gateway_world import echo, until
from tests.adapters.peers_world import Beside, PeersWorld

from funclet.gateway.handover import Handover, open_inbox


class Machine(PeersWorld):
    """Gateways with inboxes, as a supervisor makes them."""

    async def start(self, count: int) -> None:
        await self.scaler.start()
        inboxes = {f"gateway-{number}": open_inbox() for number in range(count)}
        for name, (_, inbox) in inboxes.items():
            siblings = {other: os.dup(entry.fileno()) for other, (entry, _) in inboxes.items() if other != name}
            await self.add(inbox_fd=os.dup(inbox.fileno()), sibling_fds=json.dumps(siblings))
        for entry, inbox in inboxes.values():
            entry.close()
            inbox.close()
        await self.agreed()


@contextlib.asynccontextmanager
async def one_machine(**settings: object) -> AsyncIterator[Machine]:
    machine = Machine(**settings)
    await machine.start(2)
    try:
        yield machine
    finally:
        await machine.stop()


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    async with one_machine() as machine:
        yield machine


class Caller:
    """One kept-alive connection."""

    async def connect(self, beside: Beside) -> "Caller":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", beside.gateway.port)
        return self

    def send(self, function: str, body: bytes) -> None:
        self.writer.write(request(function, body))

    async def receive(self) -> tuple[int, bytes]:
        async with asyncio.timeout(60):
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            return int(head.split(b" ", 2)[1]), await self.reader.readexactly(length)

    async def call(self, function: str, body: bytes = b"{}") -> tuple[int, bytes]:
        self.send(function, body)
        return await self.receive()

    def close(self) -> None:
        self.writer.close()


def request(function: str, body: bytes) -> bytes:
    path = f"/2015-03-31/functions/{function}/invocations"
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def handover_of(beside: Beside) -> Handover:
    assert beside.gateway._handover is not None
    return beside.gateway._handover


def callers_at(machine: Machine) -> list[int]:
    return [len(beside.gateway.clients) for beside in machine.gateways]


async def test_a_connection_goes_where_its_function_is_at_home(machine: Machine) -> None:
    a, b = machine.gateways
    name = machine.function_at(a)
    slot = await machine.function(name)
    caller = await Caller().connect(b)
    for number in range(2):
        assert await caller.call(name, b"%d" % number) == (200, b"%d" % number)
    await until(lambda: callers_at(machine) == [1, 0])
    for number in range(10):
        assert await caller.call(name, b"%d" % number) == (200, b"%d" % number)
    assert len(slot.received) == 12
    assert callers_at(machine) == [1, 0]
    caller.close()
    await until(lambda: callers_at(machine) == [0, 0])


async def test_the_new_owner_knows_the_caller(machine: Machine) -> None:
    async def respond(_: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        return {}, json.dumps(
            {"statusCode": 200, "body": json.loads(body)["requestContext"]["http"]["sourceIp"]}
        ).encode()

    a, b = machine.gateways
    name = machine.function_at(a)
    await machine.function(name, respond)
    machine.catalog.put_http("http", name, "/hello")
    caller = await Caller().connect(b)
    for _ in range(4):
        caller.writer.write(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await caller.receive() == (200, b"127.0.0.1")
    await until(lambda: callers_at(machine) == [1, 0])
    (client,) = a.gateway.clients
    assert client.source_ip == "127.0.0.1"
    caller.close()


async def test_a_connection_that_calls_here_and_there_stays(machine: Machine) -> None:
    a, b = machine.gateways
    there, here = machine.function_at(a), machine.function_at(b)
    await machine.function(there)
    await machine.function(here)
    caller = await Caller().connect(b)
    for _ in range(20):
        assert await caller.call(there) == (200, b"{}")
        assert await caller.call(here) == (200, b"{}")
    assert callers_at(machine) == [0, 1]
    caller.close()


async def test_a_connection_may_go_back_and_is_more_patient_then(machine: Machine) -> None:
    a, b = machine.gateways
    there, here = machine.function_at(a), machine.function_at(b)
    await machine.function(there)
    await machine.function(here)
    caller = await Caller().connect(b)
    for _ in range(2):
        await caller.call(there)
    await until(lambda: callers_at(machine) == [1, 0])
    for _ in range(3):
        await caller.call(here)
    assert callers_at(machine) == [1, 0]
    await caller.call(here)
    await until(lambda: callers_at(machine) == [0, 1])
    assert await caller.call(here) == (200, b"{}")
    caller.close()


async def test_requests_that_wait_are_answered_in_their_order_and_once(machine: Machine) -> None:
    a, b = machine.gateways
    name = machine.function_at(a)
    slot = await machine.function(name)
    caller = await Caller().connect(b)
    caller.writer.write(b"".join(request(name, b"%d" % number) for number in range(40)))
    for number in range(20):
        assert await caller.receive() == (200, b"%d" % number)
        caller.send(name, b"%d" % (40 + number))
    for number in range(20, 60):
        assert await caller.receive() == (200, b"%d" % number)
    await caller.call(name)
    await until(lambda: callers_at(machine) == [1, 0])
    assert len(slot.received) == 61
    caller.close()


@pytest.mark.parametrize("cut", [1, 30, 90], ids=["first byte", "head", "body"])
async def test_a_request_that_has_begun_is_read_where_it_began(machine: Machine, cut: int) -> None:
    a, b = machine.gateways
    name = machine.function_at(a)
    slot = await machine.function(name)
    caller = await Caller().connect(b)
    last = request(name, b'{"a long": "body"}')
    caller.send(name, b"1")
    caller.writer.write(request(name, b"2") + last[:cut])
    assert [await caller.receive() for _ in range(2)] == [(200, b"1"), (200, b"2")]
    assert callers_at(machine) == [0, 1]
    caller.writer.write(last[cut:])
    assert await caller.receive() == (200, b'{"a long": "body"}')
    await until(lambda: callers_at(machine) == [1, 0])
    assert len(slot.received) == 3
    assert (await caller.call(name))[0] == 200
    caller.close()


async def test_an_old_caller_and_one_that_closes_are_answered(machine: Machine) -> None:
    a, b = machine.gateways
    name = machine.function_at(a)
    await machine.function(name)
    for last in (b"HTTP/1.0\r\n", b"HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"):
        caller = await Caller().connect(b)
        await caller.call(name)
        path = f"/2015-03-31/functions/{name}/invocations".encode()
        caller.writer.write(b"POST %b %bcontent-length: 2\r\n\r\n{}" % (path, last))
        answer = await asyncio.wait_for(caller.reader.read(), 60)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n{}")
        caller.close()
    await until(lambda: callers_at(machine) == [0, 0])


async def test_the_bounds_hold_at_the_new_owner(machine: Machine) -> None:
    a, b = machine.gateways
    name = machine.function_at(a)
    await machine.function(name)
    caller = await Caller().connect(b)
    for _ in range(3):
        await caller.call(name)
    await until(lambda: callers_at(machine) == [1, 0])
    caller.writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 1_000_000)
    assert (await asyncio.wait_for(caller.reader.readline(), 60)).startswith(b"HTTP/1.1 431 ")
    caller.close()


async def test_a_sibling_without_room_gives_the_connection_back() -> None:
    async with one_machine(client_limit=2) as machine:
        a, b = machine.gateways
        name = machine.function_at(a)
        slot = await machine.function(name)
        guests = [await Caller().connect(a) for _ in range(2)]
        await until(lambda: callers_at(machine) == [2, 0])
        caller = await Caller().connect(b)
        for number in range(20):
            assert await caller.call(name, b"%d" % number) == (200, b"%d" % number)
        assert callers_at(machine)[0] == 2
        assert len(slot.received) == 20
        for guest in guests:
            guest.close()
        await until(lambda: callers_at(machine)[0] == 0)
        for number in range(20):
            assert await caller.call(name, b"%d" % number) == (200, b"%d" % number)
        await until(lambda: callers_at(machine) == [1, 0])
        caller.close()


async def test_what_a_process_did_not_take_waits_for_its_successor_and_the_others_pass_on(machine: Machine) -> None:
    a, b = machine.gateways
    name = machine.function_at(a)
    slot = await machine.function(name)
    await handover_of(a).stop()
    callers = [await Caller().connect(b) for _ in range(100)]
    for _ in range(2):
        await asyncio.gather(*(caller.call(name) for caller in callers))
    await until(lambda: 0 < len(b.gateway.clients) < 100)
    passed_on = len(b.gateway.clients)
    for number, caller in enumerate(callers):
        caller.send(name, b"%d" % number)
    answers = asyncio.as_completed([caller.receive() for caller in callers])
    statuses = {(await answer)[0] for answer in itertools.islice(answers, passed_on)}
    handover_of(a).start()
    statuses |= {(await answer)[0] for answer in answers}
    assert statuses == {200}
    assert len(slot.received) == 300
    for caller in callers:
        caller.close()


async def test_a_caller_that_goes_away_on_the_way_leaves_nothing(machine: Machine) -> None:
    a, b = machine.gateways
    name = machine.function_at(a)
    await machine.function(name, echo)
    await handover_of(a).stop()
    caller = await Caller().connect(b)
    for _ in range(2):
        await caller.call(name)
    await until(lambda: callers_at(machine) == [0, 0])
    caller.writer.transport.abort()
    handover_of(a).start()
    other = await Caller().connect(b)
    for _ in range(2):
        await other.call(name)
    await until(lambda: callers_at(machine) == [1, 0])
    other.close()


async def test_a_connection_has_one_owner(machine: Machine) -> None:
    """Two may have a reason to hand it over in the same turn of the loop: each byte is read by one process."""
    a, b = machine.gateways
    name = machine.function_at(a)
    await machine.function(name)
    caller = await Caller().connect(b)
    await caller.call(name)
    (client,) = b.gateway.clients
    assert [handover_of(b).give(client, "gateway-0") for _ in range(2)] == [True, False]
    for number in range(4):
        for byte in request(name, b'"number %d"' % number):
            caller.writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        assert await caller.receive() == (200, b'"number %d"' % number)
    assert callers_at(machine) == [1, 0]
    caller.close()


async def test_a_process_that_ends_entrusts_its_quiet_connections_to_one_that_stays(machine: Machine) -> None:
    """More of them than an inbox takes; on some nothing has come yet, on one a request has begun."""
    _, b = machine.gateways
    name = machine.function_at(b)
    slot = await machine.function(name)
    callers = [await Caller().connect(b) for _ in range(100)]
    await until(lambda: callers_at(machine) == [0, 100])
    for number, caller in enumerate(callers[:50]):
        assert await caller.call(name, b"%d" % number) == (200, b"%d" % number)
    late, *quiet = callers
    last = request(name, b'"late"')
    late.writer.write(last[:60])
    await until(lambda: any(not client.is_quiet for client in b.gateway.clients))
    ending = asyncio.create_task(b.stop())
    await until(lambda: callers_at(machine) == [99, 1])
    for number, caller in enumerate(quiet):
        assert await caller.call(name, b"%d" % number) == (200, b"%d" % number)
    late.writer.write(last[60:])
    assert await late.receive() == (200, b'"late"')
    assert await asyncio.wait_for(late.reader.read(), 60) == b""
    await ending
    assert len(slot.received) == 150
    for caller in callers:
        caller.close()


async def test_a_process_that_is_stopped_gets_nothing(machine: Machine) -> None:
    a, b = machine.gateways
    name = machine.function_at(a)
    await machine.function(name)
    caller = await Caller().connect(b)
    await caller.call(name)
    ending = asyncio.create_task(a.stop())
    await until(lambda: len(machine.scaler.gateways) == 1)
    for _ in range(10):
        assert await caller.call(name) == (200, b"{}")
    await ending
    assert callers_at(machine) == [0, 1]
    caller.close()
