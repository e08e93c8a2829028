"""What a source is that gives batches of messages: a stream's consumer, or a queue."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from funclet.core.batching import Policy
from funclet.core.sqs_event import Queue, QueueMessage


class DeadLetters(Protocol):
    """Takes what is given up."""

    async def dead_letter(self, message: Any, subject: str, error: str) -> None:
        """Returns when a stream has stored the message under `subject`. A second attempt does not store it twice."""


class SourceQueue(Protocol):
    """One open source of one Trigger. Methods raise Unavailable when its server cannot do it now."""

    @property
    def policy(self) -> Policy:
        """How its messages are batched and settled."""

    @property
    def origin(self) -> Queue:
        """The queue that records claim to come from."""

    @property
    def takes_first(self) -> bool:
        """Whether to take a batch also without an instance: listening has taken messages already."""

    @property
    def counts_taken(self) -> bool:
        """Whether `observe_depth` counts messages also while we work on them."""

    @property
    def dead_letters(self) -> DeadLetters | None:
        """Where to give up messages. None: the queue does that by itself."""

    async def observe_depth(self) -> int:
        """Messages that wait."""

    @property
    def armed(self) -> bool:
        """Whether the next message will wake us."""

    async def arm(self, wake: Callable[[], None]) -> None:
        """Calls `wake` at a message, until `disarm`: for times of rest."""

    async def disarm(self) -> None:
        """Listens no more."""

    async def close(self) -> None:
        """Listens no more, and gives back what was taken and never fetched. What was fetched can still be settled."""

    async def fetch(self, batch: int, window_seconds: float) -> Sequence[QueueMessage]:
        """At most `batch` messages: what is there now, or what comes within the window.

        A fetch that is cancelled gives back what it has taken.
        """

    async def acknowledge(self, receipts: Iterable[str]) -> None:
        """Returns when none of these messages comes again."""

    async def retry(self, receipts: Iterable[str], delay_seconds: float) -> None:
        """Deliver these messages again after this time."""

    async def keep(self, receipts: Iterable[str]) -> None:
        """Somebody still works on these messages."""
