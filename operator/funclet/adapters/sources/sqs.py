"""An SQS queue as an event source: its depth, a long poll while it is at rest, its messages and their settlement.

A request that receives is never cut off while this role lives: what its server has given away by then would stay
invisible for the whole visibility timeout. Each is a task of its own that puts what it got into `_held`, or gives it
back when nobody wants it any more.
"""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from funclet.adapters.sqs import SqsClient, SqsServer
from funclet.core.batching import Policy
from funclet.core.sqs_message import SqsMessage
from funclet.core.sqs_queue import (
    LONGEST_POLL_SECONDS,
    MOST_RECEIVED,
    UNREACHABLE,
    QueueFacts,
    SqsPlace,
    origin_of,
)
from funclet.errors import Unavailable

LOOK_SECONDS = 1.0
"""Between two looks at the depth of a queue that is not at rest; each is a request that Amazon counts."""
FIRST_LOOK_SECONDS = 0.1
"""After a long poll has brought something: how much more there is."""
LOOKED_AT = "ApproximateNumberOfMessages"
LEAST_WAIT_SECONDS = 1
"""A receive that does not wait asks some of Amazon's servers alone, and may find nothing where there is something."""
MOST_RECEIVES = 8
"""Requests of one fetch at a time, where there is plenty."""
SETTLE_ATTEMPTS = 3


async def observe_queue(client: SqsClient, server: SqsServer, place: SqsPlace) -> QueueFacts:
    """What the queue says of itself. Raises Unavailable."""
    attributes = await _attributes(client, server, place, "QueueArn", "VisibilityTimeout")
    return QueueFacts(attributes.get("QueueArn", ""), int(attributes["VisibilityTimeout"]))


async def _attributes(client: SqsClient, server: SqsServer, place: SqsPlace, *names: str) -> dict[str, str]:
    answer = await client.call(server, "GetQueueAttributes", {"QueueUrl": place.url, "AttributeNames": list(names)})
    attributes = answer.get("Attributes")
    if not isinstance(attributes, dict) or names[-1] not in attributes:
        raise Unavailable(f"{place.endpoint} did not answer as SQS does", reason=UNREACHABLE)
    return attributes


class SqsQueue:
    """One queue, for one Trigger. Methods raise Unavailable when its server cannot do it now."""

    takes_first = True
    counts_taken = False
    dead_letters = None

    def __init__(
        self, client: SqsClient, server: SqsServer, place: SqsPlace, facts: QueueFacts, policy: Policy
    ) -> None:
        self.policy = policy
        self.origin = origin_of(facts.arn, place)
        self._client = client
        self._server = server
        self._place = place
        self._visibility_seconds = facts.visibility_seconds
        self._held: deque[SqsMessage] = deque()
        """Received, and not fetched."""
        self._gathering: set[str] = set()
        """Receipts of what fetches have taken and not returned."""
        self._visible = 0
        self._looked_at = -LOOK_SECONDS
        self._failure: Unavailable | None = None
        self._wake: Callable[[], None] = lambda: None
        self._poll: asyncio.Task[None] | None = None
        self._armed = self._closed = False
        self._requests: set[asyncio.Task[Any]] = set()
        self._keeper = asyncio.create_task(self._keep_alive(), name=f"visibility of {place.name}")

    @property
    def armed(self) -> bool:
        """Whether the next message will wake us."""
        return self._armed

    async def observe_depth(self) -> int:
        """Messages that wait, here or in the queue. While a long poll waits there is none, and nobody is asked."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        is_at_rest = self._armed and self._poll is not None
        if not is_at_rest and time.monotonic() - self._looked_at >= LOOK_SECONDS:
            found = await _attributes(self._client, self._server, self._place, LOOKED_AT)
            self._visible, self._looked_at = int(found[LOOKED_AT]), time.monotonic()
        return self._visible + len(self._held)

    async def arm(self, wake: Callable[[], None]) -> None:
        """Has one long poll wait at all times, until `disarm`, and calls `wake` when one brings something, or fails."""
        self._wake, self._armed = wake, True
        if self._poll is None:
            self._poll = self._start(self._listen())

    async def disarm(self) -> None:
        """Begins no further long poll; the one that waits may still bring something."""
        self._armed = False

    async def close(self) -> None:
        """Gives back what is held, and whatever a request that is on its way still brings."""
        self._armed, self._closed = False, True
        self._keeper.cancel()
        held = [message.receipt for message in self._held]
        self._held.clear()
        with contextlib.suppress(Unavailable):
            await self.retry(held, 0)

    async def fetch(self, batch: int, window_seconds: float) -> list[SqsMessage]:
        """At most `batch` messages: what is there now, or what comes within the window."""
        deadline = time.monotonic() + window_seconds
        taken: list[SqsMessage] = []
        try:
            while True:
                taken += self._take(batch - len(taken))
                remaining = deadline - time.monotonic()
                if len(taken) == batch or (taken and remaining <= 0):
                    return taken
                received = await self._receive_some(batch - len(taken), remaining)
                if self._closed or (not received and deadline <= time.monotonic()):
                    return taken
        except (asyncio.CancelledError, Unavailable):
            with contextlib.suppress(Unavailable):
                await self.retry([message.receipt for message in taken], 0)
            raise
        finally:
            self._gathering.difference_update(message.receipt for message in taken)

    async def acknowledge(self, receipts: Iterable[str]) -> None:
        """Deletes them. One that is not known any more was received again by somebody: it cannot be helped."""
        entries = [{"ReceiptHandle": receipt} for receipt in receipts]
        for attempt in range(1, SETTLE_ATTEMPTS + 1):
            entries = await self._settle("DeleteMessageBatch", entries)
            if not entries:
                return
            if attempt == SETTLE_ATTEMPTS:
                raise Unavailable(f"{len(entries)} messages of {self._place.url} were not deleted", reason=UNREACHABLE)

    async def retry(self, receipts: Iterable[str], delay_seconds: float) -> None:
        """Makes them visible again after this time."""
        await self._change_visibility(receipts, math.ceil(delay_seconds))

    async def keep(self, receipts: Iterable[str]) -> None:
        """They stay invisible for another visibility timeout from now."""
        await self._change_visibility(receipts, self._visibility_seconds)

    async def _change_visibility(self, receipts: Iterable[str], seconds: int) -> None:
        entries = [{"ReceiptHandle": receipt, "VisibilityTimeout": seconds} for receipt in receipts]
        await self._settle("ChangeMessageVisibilityBatch", entries)

    async def _settle(self, action: str, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Ten at a time, as the protocol has it; returns what failed through the server's fault."""
        chunks = [entries[at : at + MOST_RECEIVED] for at in range(0, len(entries), MOST_RECEIVED)]
        failed = await asyncio.gather(*(self._settle_chunk(action, chunk) for chunk in chunks))
        return [entry for chunk in failed for entry in chunk]

    async def _settle_chunk(self, action: str, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        named = [{"Id": str(number), **entry} for number, entry in enumerate(entries)]
        answer = await self._client.call(self._server, action, {"QueueUrl": self._place.url, "Entries": named})
        failed = [each for each in answer.get("Failed") or () if not each.get("SenderFault", False)]
        return [entries[int(each["Id"])] for each in failed]

    def _take(self, count: int) -> list[SqsMessage]:
        taken = [self._held.popleft() for _ in range(min(count, len(self._held)))]
        self._gathering.update(message.receipt for message in taken)
        return taken

    async def _receive_some(self, wanted: int, remaining_seconds: float) -> int:
        """Has messages come into `_held`; how many."""
        requests = min(MOST_RECEIVES, math.ceil(wanted / MOST_RECEIVED)) if self._visible > MOST_RECEIVED else 1
        wait = min(LONGEST_POLL_SECONDS, max(LEAST_WAIT_SECONDS, int(remaining_seconds)))
        share = min(MOST_RECEIVED, math.ceil(wanted / requests))
        receives = [asyncio.shield(self._start(self._receive(share, wait))) for _ in range(requests)]
        return sum(await asyncio.gather(*receives))

    async def _listen(self) -> None:
        try:
            while self._armed:
                async with self._client.turn_to_poll() as wait_seconds:
                    if not self._armed:
                        return
                    received = await self._receive(min(MOST_RECEIVED, self.policy.batch_size), wait_seconds)
                if received:  # its batch goes first
                    self._looked_at = time.monotonic() - LOOK_SECONDS + FIRST_LOOK_SECONDS
                    return
        except Unavailable as error:
            self._failure = error
        finally:
            self._poll = None
            self._armed = False
            self._wake()

    async def _receive(self, most: int, wait_seconds: int) -> int:
        request = {
            "QueueUrl": self._place.url,
            "MaxNumberOfMessages": most,
            "WaitTimeSeconds": wait_seconds,
            "AttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
        answer = await self._client.call(self._server, "ReceiveMessage", request, wait_seconds)
        messages = [SqsMessage.parse(given) for given in answer.get("Messages") or ()]
        self._visible = max(0, self._visible - len(messages)) if messages else 0
        if self._closed:
            await self.retry([message.receipt for message in messages], 0)
        else:
            self._held.extend(messages)
        return len(messages)

    async def _keep_alive(self) -> None:
        """What waits here for its batch stays ours."""
        while True:
            await asyncio.sleep(self.policy.heartbeat_seconds)
            waiting = [*self._gathering, *(message.receipt for message in self._held)]
            with contextlib.suppress(Unavailable):  # the next beat is in time too: two may be lost
                await self.keep(waiting)

    def _start(self, request: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(request, name=f"receive from {self._place.name}")
        self._requests.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._requests.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited for it has it, too
