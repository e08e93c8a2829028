"""The feed of instances to the gateways: a snapshot, then what changes, one JSON object a line."""

import asyncio
from collections.abc import Callable

from funclet.core.demand import FORGOTTEN_AFTER_SECONDS
from funclet.core.membership import Membership
from funclet.core.messages import DemandReport, Draining, Gone, Introduction, Peers, Ping, Ready, Refused, Snapshot

Line = Ready | Draining | Gone | Refused | Ping | Snapshot | Peers

WATCH_SECONDS = 0.5
"""Between two looks for gateways that have fallen silent."""
BUFFER_LINES = 10_000
"""A reader that is further behind is cut off: it gets a snapshot when it comes again."""


class Reader:
    """One connection of one gateway. `peer_id` is set when it has introduced itself to the others."""

    def __init__(self, reporter: str, peer_id: str | None = None) -> None:
        self.reporter = reporter
        self.peer_id = peer_id
        self._lines: asyncio.Queue[bytes] = asyncio.Queue(BUFFER_LINES)
        self.cut_off = False

    def put(self, line: bytes) -> None:
        """Queue a line, or give the reader up."""
        try:
            self._lines.put_nowait(line)
        except asyncio.QueueFull:
            self.cut_off = True

    async def next_lines(self, patience_seconds: float) -> bytes:
        """All lines that wait, as soon as there is one; nothing when none came in time."""
        try:
            async with asyncio.timeout(patience_seconds):
                lines = [await self._lines.get()]
        except TimeoutError:
            return b""
        while not self._lines.empty():
            lines.append(self._lines.get_nowait())
        return b"".join(lines)


class Feed:
    """All readers."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._readers: set[Reader] = set()
        self._left_at: dict[str, float] = {}
        self._membership = Membership()

    def join(
        self, reporter: str, snapshot: Snapshot, introduction: Introduction | None = None, host: str = ""
    ) -> Reader:
        """A new reader; whatever happens from now on comes after its snapshot. A gateway first hears of the others."""
        reader = Reader(reporter, introduction.id if introduction else None)
        if introduction is not None:
            if self._membership.join(introduction, host, self._clock()):
                self._tell_peers()
            reader.put(encode(self._membership.message))
        reader.put(encode(snapshot))
        self._readers.add(reader)
        self._left_at.pop(reporter, None)
        return reader

    def leave(self, reader: Reader) -> None:
        """A connection has ended; what it holds it may go on using."""
        self._readers.discard(reader)
        if reader.reporter not in {other.reporter for other in self._readers}:
            self._left_at[reader.reporter] = self._clock()
        if reader.peer_id is not None and self._membership.leave(reader.peer_id):
            self._tell_peers()

    def hear(self, report: DemandReport) -> None:
        """A report is a sign of life."""
        if self._membership.hear(report.reporter, self._clock(), leaving=report.leaving, peer=report.peer):
            self._tell_peers()

    async def watch(self) -> None:
        """Notice gateways that have fallen silent, for ever."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self._membership.expire(self._clock()):
                self._tell_peers()

    def _tell_peers(self) -> None:
        line = encode(self._membership.message)
        for reader in self._readers:
            if reader.peer_id is not None:
                reader.put(line)

    def send(self, message: Line) -> None:
        """Tell all readers."""
        line = encode(message)
        for reader in self._readers:
            reader.put(line)

    def holders(self) -> set[str]:
        """Reporters that may be using instances: connected, or gone for less than the time of being forgotten."""
        now = self._clock()
        self._left_at = {name: at for name, at in self._left_at.items() if now - at < FORGOTTEN_AFTER_SECONDS}
        return {reader.reporter for reader in self._readers} | self._left_at.keys()


def encode(message: Line) -> bytes:
    """A line of the feed."""
    return message.model_dump_json().encode() + b"\n"
