"""Callers of the warm path, as bytes on sockets: cheap, so that there is CPU left for what is measured."""

import asyncio
import contextlib
import functools
import itertools
import time
from collections.abc import Callable, Sequence
from typing import cast

import uvloop

WARM_UP_CALLS = 2000
REQUEST = (
    b"POST /2015-03-31/functions/hello/invocations HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept-Encoding: identity\r\n"
    b"User-Agent: Boto3/1.40 md/Botocore#1.40 ua/2.1 os/linux lang/python#3.13\r\nX-Amz-Date: 20250101T000000Z\r\n"
    b"Authorization: AWS4-HMAC-SHA256 Credential=a/20250101/us-east-1/lambda/aws4_request, SignedHeaders=host, "
    b"Signature=0\r\namz-sdk-invocation-id: 7c2a\r\namz-sdk-request: attempt=1\r\nContent-Type: application/json\r\n"
    b'Content-Length: 17\r\n\r\n{"name": "World"}'
)
"""What boto3 sends."""


class Incoming(asyncio.Protocol):
    """Cuts what comes in into HTTP messages with a Content-Length."""

    def __init__(self) -> None:
        self._buffer = b""
        self._rest = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._end()) is not None:
            message, self._buffer = self._buffer[:end], self._buffer[end:]
            self.received(message)

    def _end(self) -> int | None:
        """Where the first message ends, once it is there."""
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return None
        length = self._buffer[:head].lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        end = head + 4 + int(length or 0)
        return end if end <= len(self._buffer) else None

    def received(self, message: bytes) -> None:
        """One whole message."""
        raise NotImplementedError


class Caller(Incoming):
    """Sends the next request when the answer to the last one is there."""

    def __init__(
        self, requests: Sequence[bytes], count: int, waited: list[float], done: "asyncio.Future[None]"
    ) -> None:
        super().__init__()
        self._requests = itertools.cycle(requests)
        self._left = count
        self._waited = waited
        self._done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self.transport.write(next(self._requests))

    def received(self, message: bytes) -> None:
        self._waited.append(time.perf_counter() - self._sent_at)
        if not message.startswith(b"HTTP/1.1 200") or b"X-Amz-Function-Error" in message:
            self._end_with(RuntimeError(f"answered {message[:300]!r}"))
            return
        self._left -= 1
        if self._left:
            self._send()
        else:
            self._end_with(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_with(exc or ConnectionError("closed by the server"))

    def _end_with(self, error: Exception | None) -> None:
        if self._done.done():
            return
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(error)
        self.transport.close()


class Steady(Incoming):
    """Sends its requests in turn, each when the one before is answered, and counts the answers."""

    def __init__(self, requests: Sequence[bytes], broken: "asyncio.Future[None]") -> None:
        super().__init__()
        self.answers = 0
        self._requests = itertools.cycle(requests)
        self._broken = broken

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(next(self._requests))

    def received(self, message: bytes) -> None:
        if message.startswith(b"HTTP/1.1 200"):
            self.answers += 1
            self.transport.write(next(self._requests))
        elif not self._broken.done():
            self._broken.set_exception(RuntimeError(f"answered {message[:300]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._broken.done():
            self._broken.set_exception(exc or ConnectionError("closed by the server"))


class OnDemand(Caller):
    """Sends its one request when it is told to."""

    def __init__(self, request: bytes, done: "asyncio.Future[None]") -> None:
        self.waited: list[float] = []
        self.done = done
        super().__init__([request], 1, self.waited, done)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Incoming.connection_made(self, transport)

    def send(self) -> None:
        """Now."""
        self._send()


async def call(
    port: int, calls: int, callers: int, requests: Sequence[bytes] = (REQUEST,), host: str = "127.0.0.1"
) -> list[float]:
    """So many calls by so many callers, each with these requests, one after the other; what each waited, in seconds."""
    loop = asyncio.get_running_loop()
    waited: list[float] = []
    done = [loop.create_future() for _ in range(callers)]
    for future in done:
        make = functools.partial(Caller, requests, calls // callers, waited, future)
        await loop.create_connection(make, host, port)
    await asyncio.gather(*done)
    return waited


async def call_steadily(callers: Sequence[tuple[int, Sequence[bytes]]], seconds: float) -> int:
    """How many calls are answered in so many seconds: each caller sends its requests in turn to its port, for ever."""
    loop = asyncio.get_running_loop()
    broken: asyncio.Future[None] = loop.create_future()
    connected = []
    for port, requests in callers:
        make = functools.partial(Steady, requests, broken)
        connected.append((await loop.create_connection(make, "127.0.0.1", port))[1])
    before = sum(caller.answers for caller in connected)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await broken
    answers = sum(caller.answers for caller in connected) - before
    for caller in connected:
        caller.transport.abort()
    return answers


async def call_each(host: str, port: int, requests: Sequence[bytes]) -> list[float]:
    """All of these at once, each on a connection that is open already; what each waited for its answer, in seconds."""
    loop = asyncio.get_running_loop()
    callers: list[OnDemand] = []
    for request in requests:
        _, caller = await loop.create_connection(functools.partial(OnDemand, request, loop.create_future()), host, port)
        callers.append(caller)
    for caller in callers:
        caller.send()
    await asyncio.gather(*(caller.done for caller in callers))
    return [caller.waited[0] for caller in callers]


def drive(
    port: int, calls: int, callers: int, requests: Sequence[bytes] = (REQUEST,), host: str = "127.0.0.1"
) -> list[float]:
    """`call`, from a program without a loop."""
    return uvloop.run(call(port, calls, callers, requests, host))


def cpu_us_per_call(
    cpu_seconds: Callable[[], float], port: int, calls: int, callers: int, requests: Sequence[bytes] = (REQUEST,)
) -> float:
    """CPU microseconds a call of what `cpu_seconds` counts, warm."""
    drive(port, WARM_UP_CALLS, callers, requests)
    before = cpu_seconds()
    drive(port, calls, callers, requests)
    return (cpu_seconds() - before) / (calls // callers * callers) * 1e6


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
