"""The scaler's side of the agent's port: HTTP/1.1 by hand over one connection a request.

This is on the path of a cold start, so no library stands between. A pod's address is known before its agent listens:
`await_listening` knocks until somebody opens.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from funclet.core.messages import Specialisation
from funclet.errors import Conflict, InvalidSpec, Unavailable

CONNECT_TIMEOUT_SECONDS = 1.0
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS, RETRY_GROWTH = 0.005, 0.1, 1.3
"""Between two knocks: a hundred pods that start at once are knocked at a thousand times a second, not twenty thousand,
and nobody waits for longer than a quarter of what the agent took."""
ANSWER_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """What an agent says it is."""

    specialised: bool
    function: str | None
    revision: str | None
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AgentAddress:
    """Where an agent listens and what opens it."""

    host: str
    port: int
    token: str


async def await_listening(host: str, port: int, patience_seconds: float, is_wanted: Callable[[], bool]) -> bool:
    """Whether somebody listens there in time; it ends early when it is not wanted any more."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + patience_seconds
    delay = FIRST_RETRY_SECONDS
    while is_wanted() and loop.time() < give_up_at:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                transport, _ = await loop.create_connection(asyncio.Protocol, host, port)
        except OSError:
            await asyncio.sleep(delay)
            delay = min(delay * RETRY_GROWTH, LAST_RETRY_SECONDS)
        else:
            transport.abort()
            return True
    return False


async def specialise(
    address: AgentAddress, head: Specialisation, packages: list[bytes], patience_seconds: float
) -> tuple[int, ...]:
    """Push packages (the layers, then the code) and configuration; returns the ports of the slots.

    InvalidSpec: the agent cannot use the package (400). Conflict: it is specialised for something else already.
    Unavailable: it did not answer, or not within `patience_seconds` for the connection.
    """
    encoded = head.model_dump_json().encode()
    body = b"".join([len(encoded).to_bytes(4, "big"), encoded, *packages])
    status, answer = await _request(address, "POST", "/v1/specialise", body, patience_seconds)
    if status == 400:
        raise InvalidSpec(str(answer.get("message", "the agent refused the package")), reason="InvalidPackage")
    if status == 409 and (answer.get("function"), answer.get("revision")) != (head.function, head.revision):
        raise Conflict(f"it is specialised for {answer.get('function')} already")
    if status not in (200, 409):
        raise Unavailable(f"the agent answered {status}", reason="AgentFailed")
    return tuple(answer["slots"])


async def observe_status(address: AgentAddress, patience_seconds: float) -> AgentStatus:
    """Ask an agent what it is."""
    status, answer = await _request(address, "GET", "/v1/status", b"", patience_seconds)
    if status != 200:
        raise Unavailable(f"the agent answered {status}", reason="AgentFailed")
    return AgentStatus(
        specialised=answer.get("state") == "specialised",
        function=answer.get("function"),
        revision=answer.get("revision"),
        slots=tuple(answer.get("slots") or ()),
    )


async def _request(
    address: AgentAddress, method: str, path: str, body: bytes, patience_seconds: float
) -> tuple[int, dict[str, Any]]:
    reader, writer = await _connect(address, patience_seconds)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            writer.write(_head(address, method, path, len(body)) + body)
            await writer.drain()
            return await _read_answer(reader)
    except (OSError, EOFError, ValueError) as error:
        # TimeoutError is an OSError, asyncio.IncompleteReadError an EOFError, LimitOverrunError becomes a ValueError.
        raise Unavailable(f"the agent at {address.host} did not answer: {error!r}", reason="AgentFailed") from error
    finally:
        writer.close()


async def _connect(address: AgentAddress, patience_seconds: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + patience_seconds
    while True:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                return await asyncio.open_connection(address.host, address.port)
        except OSError as error:
            if loop.time() >= give_up_at:
                message = f"the agent at {address.host}:{address.port} does not listen"
                raise Unavailable(message, reason="AgentFailed") from error
        await asyncio.sleep(FIRST_RETRY_SECONDS)


def _head(address: AgentAddress, method: str, path: str, length: int) -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nhost: {address.host}:{address.port}\r\nx-funclet-token: {address.token}\r\n"
        f"content-length: {length}\r\nconnection: close\r\n\r\n"
    ).encode()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    status_line = (await reader.readline()).split(b" ", 2)
    if len(status_line) < 2:
        raise EOFError("no status line")
    length = 0
    while (line := await reader.readline()).strip():
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    body = await reader.readexactly(length)
    try:
        answer = json.loads(body) if body else {}
    except ValueError:
        answer = {"message": body.decode(errors="replace")}
    return int(status_line[1]), answer if isinstance(answer, dict) else {}
