"""Durable writes to one JetStream stream, many at a time.

A server that syncs to disk before it confirms (`sync_interval: always`) does so a thousand times a second at best, but
one sync can serve a thousand messages: NATS stores an atomic batch (ADR-50, server 2.12 and later) with a single one.
What comes while a batch is under way makes up the next one, so that a lone message waits for nobody, and a stream of
messages shares its syncs. https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-50.md
"""

import asyncio
import itertools
import json
import secrets
from collections import deque
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client

from funclet.errors import Unavailable

BATCH_MESSAGES = 1000
"""The server's own limit for one atomic batch."""
BATCH_BYTES = 4 * 1024 * 1024
BATCHES_IN_FLIGHT = 2
"""The second is sent while the first is synced, once it is full."""
CONFIRMATION_SECONDS = 5.0
PENDING_LIMIT_BYTES = 64 * 1024 * 1024
"""Beyond it new messages are refused: a server that is slower than its writers must not fill our memory."""
HEADER_BYTES = 1024
"""What a message's headers may add to its payload, amply."""


@dataclass(slots=True)
class _Entry:
    subject: str
    payload: bytes
    headers: dict[str, str]
    stored: "asyncio.Future[None]"


class GroupCommit:
    """Writes to the stream that holds the subjects it is given; it must allow atomic batches."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: deque[_Entry] = deque()
        self._bytes = 0
        self._commits: set[asyncio.Task[None]] = set()
        self._scheduled = False
        self._prefix = secrets.token_hex(8)
        self._numbers = itertools.count(1)

    def append(self, subject: str, payload: bytes, headers: dict[str, str]) -> "asyncio.Future[None]":
        """Resolves once the message is durable; fails with Unavailable, and nobody knows whether it was stored."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        problem = self._find_problem(len(payload))
        if problem is not None:
            stored.set_exception(problem)
            return stored
        self._waiting.append(_Entry(subject, payload, headers, stored))
        self._bytes += len(payload)
        if not self._scheduled:  # what else this turn of the loop brings goes with it
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._commit)
        return stored

    async def close(self) -> None:
        """Returns when what was taken has ended, one way or the other."""
        while self._scheduled or self._commits:
            await asyncio.sleep(0)
            if self._commits:
                await asyncio.wait(self._commits)

    def _find_problem(self, size: int) -> Unavailable | None:
        if not self._client.is_connected:
            return Unavailable("JetStream cannot be reached.", reason="JetStreamUnavailable")
        if size + HEADER_BYTES > self._client.max_payload:
            message = f"the NATS server takes no message of {size} bytes: raise its max_payload"
            return Unavailable(message, reason="MaxPayload")
        if self._bytes + size > PENDING_LIMIT_BYTES:
            return Unavailable("JetStream is slower than what is to be stored.", reason="JetStreamSlow")
        return None

    def _commit(self) -> None:
        """Begin a batch when none is under way, or when one more is full."""
        self._scheduled = False
        while self._waiting and len(self._commits) < BATCHES_IN_FLIGHT and self._may_begin():
            task = asyncio.create_task(self._store(self._take()))
            self._commits.add(task)
            task.add_done_callback(self._end)

    def _may_begin(self) -> bool:
        return not self._commits or len(self._waiting) >= BATCH_MESSAGES or self._bytes >= BATCH_BYTES

    def _take(self) -> list[_Entry]:
        batch: list[_Entry] = []
        size = 0
        while self._waiting and len(batch) < BATCH_MESSAGES and size < BATCH_BYTES:
            entry = self._waiting.popleft()
            size += len(entry.payload)
            batch.append(entry)
        self._bytes -= size
        return batch

    def _end(self, task: "asyncio.Task[None]") -> None:
        self._commits.discard(task)
        self._commit()

    async def _store(self, batch: list[_Entry]) -> None:
        failure: Unavailable | None = Unavailable("the write was cut off", reason="JetStreamUnavailable")
        try:
            await self._publish(batch)
            failure = None
        except Unavailable as error:
            failure = error
        except (nats.errors.Error, OSError, ValueError) as error:
            failure = Unavailable(f"JetStream did not confirm it: {error!r}", reason="JetStreamUnavailable")
        finally:
            _resolve(batch, failure)

    async def _publish(self, batch: list[_Entry]) -> None:
        """All but the last without an answer; the last one's answer is that of the batch."""
        client, last = self._client, batch[-1]
        if len(batch) > 1:
            name = f"{self._prefix}{next(self._numbers)}"
            for number, entry in enumerate(batch[:-1], 1):
                headers = {**entry.headers, "Nats-Batch-Id": name, "Nats-Batch-Sequence": str(number)}
                await client.publish(entry.subject, entry.payload, headers=headers)
            end = {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(len(batch)), "Nats-Batch-Commit": "1"}
            last = _Entry(last.subject, last.payload, {**last.headers, **end}, last.stored)
        answer = await client.request(
            last.subject, last.payload, timeout=CONFIRMATION_SECONDS, headers=last.headers or None
        )
        confirmation = json.loads(answer.data)
        if "error" in confirmation:
            raise Unavailable(f"JetStream refused it: {confirmation['error'].get('description')}", reason="NotStored")


def _resolve(batch: list[_Entry], failure: Unavailable | None) -> None:
    for entry in batch:
        if entry.stored.done():  # whoever waited has gone
            continue
        if failure is None:
            entry.stored.set_result(None)
        else:
            entry.stored.set_exception(failure)
