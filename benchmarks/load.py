"""Load on an HTTP endpoint from one asyncio process: raw sockets, kept alive, every answer read and counted.

Two kinds, because they break a server in different ways:

- `closed_loop(target, callers, seconds)`: so many callers, each of which waits for its answer before it calls again.
  The load falls when the server gets slower. With `backoff_seconds` a caller that was refused waits before it returns.
- `open_loop(target, rate, seconds)`: arrivals on a clock, whatever the server does. Latency counts from the moment the
  call was due, so that a server which stalls cannot hide it (no coordinated omission). At most `connections` calls are
  under way; an arrival that finds them all in use is counted in `missed` and not sent.

Both return a `Tally`: answers by status (0: no connection, or one that broke), latencies of the successful ones, the
goodput (successful answers a second), and what the `check` of the caller had to say against an answer. A `Target` is
where to call and what to send:

    target = invoke_target("127.0.0.1", 8080, "hello", b'{"name": "World"}')
    peak = await closed_loop(target, callers=16, seconds=5)
    flood = await open_loop(target, rate=10 * peak.goodput, seconds=5, check=is_fair_refusal)
    print(flood.goodput / peak.goodput, flood.statuses, flood.complaints)

`is_fair_refusal` is the check of the overload tests: whatever is no 200 is a 429 or a 503 with Retry-After and
Lambda's error body. On the command line:

    python -m benchmarks.load http://127.0.0.1:8080 hello --callers 64 --seconds 10
    python -m benchmarks.load http://127.0.0.1:8080 hello --rate 20000 --seconds 10
"""

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import uvloop

COMPLAINTS_LIMIT = 10
"""So many of them are kept word by word."""
CONNECT_TIMEOUT_SECONDS = 5
ANSWER_TIMEOUT_SECONDS = 90
"""Beyond every timeout of the gateway's own; a call without an answer counts as broken then."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to call, and the whole request as it is sent."""

    host: str
    port: int
    request: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. Header names are in lower case; `latency_seconds` counts from when the call was due."""

    status: int
    headers: dict[str, str]
    body: bytes
    latency_seconds: float


Check = Callable[[Answer], str | None]
"""What is wrong with an answer; None: nothing."""


@dataclass(slots=True)
class Tally:
    """What came of one load."""

    seconds: float = 0.0
    sent: int = 0
    missed: int = 0
    """Arrivals of an open loop that found no free connection."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Answers by status; 0: the connection could not be had, or broke."""
    latencies: list[float] = field(default_factory=list)
    """Seconds, of answers with 200."""
    complaints: list[str] = field(default_factory=list)
    complaint_count: int = 0

    @property
    def goodput(self) -> float:
        """Answers with 200 a second."""
        return self.statuses[200] / self.seconds if self.seconds else 0.0

    def latency(self, quantile: float) -> float:
        """Seconds below which this share of the successful answers came; 0 without any."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else 0.0

    def count(self, answer: Answer | None, check: Check | None) -> None:
        """One call has ended; None: without an answer."""
        self.statuses[answer.status if answer else 0] += 1
        if answer is None:
            return
        if answer.status == 200:
            self.latencies.append(answer.latency_seconds)
        complaint = check(answer) if check else None
        if complaint is not None:
            self.complaint_count += 1
            if len(self.complaints) < COMPLAINTS_LIMIT:
                self.complaints.append(complaint)

    def summary(self) -> str:
        """One line for people."""
        statuses = ", ".join(f"{status or 'broken'}: {count}" for status, count in sorted(self.statuses.items()))
        return (
            f"{self.goodput:.0f} successful calls/s; p50 {self.latency(0.5) * 1e3:.1f} ms, "
            f"p99 {self.latency(0.99) * 1e3:.1f} ms; answers {statuses}; missed {self.missed}"
        )


def invoke_target(host: str, port: int, function: str, payload: bytes) -> Target:
    """An Invoke of the Lambda API."""
    head = f"POST /2015-03-31/functions/{function}/invocations HTTP/1.1\r\nhost: {host}\r\n"
    return Target(host, port, f"{head}content-length: {len(payload)}\r\n\r\n".encode() + payload)


def is_fair_refusal(answer: Answer) -> str | None:
    """Under overload there are successes, 429 and 503; a refusal says when to come back, in Lambda's words."""
    if answer.status == 200:
        return None if "x-amz-function-error" not in answer.headers else f"a function error: {answer.body[:200]!r}"
    expected = {429: "TooManyRequestsException", 503: "ServiceException"}.get(answer.status)
    if expected is None:
        return f"status {answer.status}: {answer.body[:200]!r}"
    if not answer.headers.get("retry-after", "").isdigit():
        return f"{answer.status} without Retry-After"
    if answer.headers.get("x-amzn-errortype") != expected:
        return f"{answer.status} with the error type {answer.headers.get('x-amzn-errortype')}"
    members = json.loads(answer.body)
    if "Type" not in members or not (members.get("Message") or members.get("message")):
        return f"{answer.status} with the body {answer.body!r}"
    return None


class Connection(asyncio.Protocol):
    """One kept-alive connection with one call on it at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._due = 0.0
        self._waiter: asyncio.Future[Answer | None] | None = None

    @property
    def usable(self) -> bool:
        """Whether a call may be sent on it."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """What was under way is broken."""
        self._transport = None
        self._settle(None)

    def call(self, request: bytes, due: float) -> "asyncio.Future[Answer | None]":
        """Send; the future is its answer, None if the connection broke."""
        assert self._transport is not None
        self._waiter = self._loop.create_future()
        self._due = due
        self._buffer.clear()
        self._transport.write(request)
        return self._waiter

    def data_received(self, data: bytes) -> None:
        """An answer, or a part of one."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = bytes(self._buffer[end + 4 :])
        if len(body) < int(headers.get("content-length", "0")):
            return
        if headers.get("connection") == "close":
            self.close()
        self._settle(Answer(int(head[0][9:12]), headers, body, self._loop.time() - self._due))

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _settle(self, answer: Answer | None) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)


class Caller:
    """Makes calls one after another, on a connection that is opened anew whenever it broke."""

    def __init__(self, target: Target, tally: Tally, check: Check | None) -> None:
        self._target = target
        self._tally = tally
        self._check = check
        self._connection: Connection | None = None
        self._loop = asyncio.get_running_loop()

    async def call(self, due: float) -> int:
        """One call, counted; its status, 0 if it broke."""
        self._tally.sent += 1
        answer = None
        try:
            if self._connection is None or not self._connection.usable:
                self._connection = await self._connect()
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                answer = await self._connection.call(self._target.request, due)
        except (OSError, TimeoutError):
            self.close()
        self._tally.count(answer, self._check)
        return answer.status if answer else 0

    async def _connect(self) -> Connection:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            _, connection = await self._loop.create_connection(
                lambda: Connection(self._loop), self._target.host, self._target.port
            )
        return connection

    def close(self) -> None:
        """Drop its connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


async def closed_loop(
    target: Target, callers: int, seconds: float, *, check: Check | None = None, backoff_seconds: float = 0.0
) -> Tally:
    """So many callers for so long; calls under way at the end are waited for and counted."""
    loop = asyncio.get_running_loop()
    tally = Tally()
    begun = loop.time()

    async def repeat() -> None:
        caller = Caller(target, tally, check)
        while loop.time() - begun < seconds:
            if await caller.call(loop.time()) != 200:
                await asyncio.sleep(backoff_seconds)
        caller.close()

    await asyncio.gather(*(repeat() for _ in range(callers)))
    tally.seconds = loop.time() - begun
    return tally


async def open_loop(
    target: Target, rate: float, seconds: float, *, check: Check | None = None, connections: int = 2000
) -> Tally:
    """`rate` arrivals a second for so long; calls under way at the end are waited for and counted.

    Arrivals that are due go out together at each millisecond's tick. The goodput is over the arrivals' time and the
    time until the last answer.
    """
    loop = asyncio.get_running_loop()
    tally = Tally()
    idle = [Caller(target, tally, check) for _ in range(connections)]
    everyone = list(idle)
    running: set[asyncio.Task[None]] = set()
    begun = loop.time()

    async def one(caller: Caller, due: float) -> None:
        await caller.call(due)
        idle.append(caller)

    arrived, total = 0, int(rate * seconds)
    while arrived < total:
        for number in range(arrived, min(total, int((loop.time() - begun) * rate) + 1)):
            arrived = number + 1
            if idle:
                task = loop.create_task(one(idle.pop(), begun + number / rate))
                running.add(task)
                task.add_done_callback(running.discard)
            else:
                tally.missed += 1
        await asyncio.sleep(0.001)
    if running:
        await asyncio.wait(running)
    tally.seconds = loop.time() - begun
    for caller in everyone:
        caller.close()
    return tally


def main() -> None:
    """One load, one line."""
    parser = argparse.ArgumentParser(description="Call a function for some seconds, in a closed or an open loop.")
    parser.add_argument("url", help="the gateway, as http://HOST:PORT")
    parser.add_argument("function")
    parser.add_argument("--payload", default="{}")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--callers", type=int, default=16, help="of the closed loop")
    parser.add_argument("--rate", type=float, help="calls a second: an open loop")
    options = parser.parse_args()
    url = urlsplit(options.url)
    target = invoke_target(url.hostname or "127.0.0.1", url.port or 80, options.function, options.payload.encode())
    if options.rate:
        load = open_loop(target, options.rate, options.seconds)
    else:
        load = closed_loop(target, options.callers, options.seconds)
    print(uvloop.run(load).summary())


if __name__ == "__main__":
    main()
