"""What a gateway has counted and perhaps not yet told, in a file that outlives its process.

The file is mapped into memory: a count is a few bytes written there, and the kernel keeps them when the process is
killed, whatever it was doing. The process that opens the file next goes on under the same gateway id. Only the end of
the machine, or of the pod and its volume, takes away what was not told.

    16 bytes  the gateway's id
    192 bytes for each function: length of the key, the key, and at 152 five numbers of eight bytes: hour, invocations,
    errors, billed milliseconds, MiB-milliseconds
"""

import fcntl
import itertools
import mmap
import os
import secrets
import struct
from pathlib import Path

from funclet.core.usage import HourOfUsage, Usage

ID_BYTES = 16
ENTRY_BYTES = 192
KEY_BYTES = 151
"""Namespace and name are DNS labels of at most 63 characters each; 23 digits are enough for a version."""
NUMBERS_AT = 152
NUMBERS = struct.Struct("<5Q")
FIRST_ENTRIES = 64


class UsageEntry:
    """One function's counts in one hour. Cheap to add to; one writer."""

    __slots__ = ("_journal", "_offset", "billed_ms", "errors", "hour", "invocations", "is_changed", "key", "mib_ms")

    invocations: int
    errors: int
    billed_ms: int
    mib_ms: int

    def __init__(self, journal: "UsageJournal", offset: int, key: str, hour: int, usage: Usage) -> None:
        self.key = key
        self.hour = hour
        self.is_changed = False
        """Whether it holds what `take_changed` has not handed out."""
        self._journal = journal
        self._offset = offset
        self._set(usage)

    def count(self, billed_ms: int, mib_ms: int, failed: bool) -> None:
        """Add one invocation."""
        self.invocations = invocations = self.invocations + 1
        self.errors = errors = self.errors + failed
        self.billed_ms = billed_ms = self.billed_ms + billed_ms
        self.mib_ms = mib_ms = self.mib_ms + mib_ms
        NUMBERS.pack_into(self._journal.memory, self._offset, self.hour, invocations, errors, billed_ms, mib_ms)
        if not self.is_changed:
            self.is_changed = True
            self._journal.changed.append(self)

    def so_far(self) -> HourOfUsage:
        """Its whole count."""
        usage = Usage(self.invocations, self.errors, self.billed_ms, self.mib_ms)
        return HourOfUsage(self._journal.gateway, self.hour, self.key, usage)

    def begin_hour(self, hour: int, told: HourOfUsage) -> None:
        """Go on in a new hour with what came after what was told."""
        self.hour = hour
        self._set(
            Usage(
                self.invocations - told.usage.invocations,
                self.errors - told.usage.errors,
                self.billed_ms - told.usage.billed_ms,
                self.mib_ms - told.usage.mib_ms,
            )
        )

    def _set(self, usage: Usage) -> None:
        self.invocations, self.errors = usage.invocations, usage.errors
        self.billed_ms, self.mib_ms = usage.billed_ms, usage.mib_ms
        NUMBERS.pack_into(
            self._journal.memory, self._offset, self.hour, self.invocations, self.errors, self.billed_ms, self.mib_ms
        )


class UsageJournal:
    """The entries of one gateway process. Without a path it lives in memory alone, and dies with the process."""

    def __init__(self, path: Path | None = None) -> None:
        self.gateway = secrets.token_hex(ID_BYTES // 2)
        self.changed: list[UsageEntry] = []
        self._file = -1 if path is None else _claim(path)
        self._entries: dict[str, UsageEntry] = {}
        size = 0 if self._file < 0 else os.fstat(self._file).st_size
        self.memory = self._map(max(size, ID_BYTES + FIRST_ENTRIES * ENTRY_BYTES))
        if size:
            self._recover()
        self.memory[:ID_BYTES] = self.gateway.encode()

    def entry(self, key: str, hour: int) -> UsageEntry:
        """The entry of `namespace/name`; one without a count begins in this hour."""
        entry = self._entries.get(key)
        if entry is not None and not entry.invocations:
            entry.hour = hour
        if entry is None:
            offset = ID_BYTES + len(self._entries) * ENTRY_BYTES
            if offset + ENTRY_BYTES > len(self.memory):
                self._grow()
            name = key.encode()[:KEY_BYTES]
            self.memory[offset + 1 : offset + 1 + len(name)] = name
            entry = self._entries[key] = UsageEntry(self, offset + NUMBERS_AT, key, hour, Usage())
            self.memory[offset] = len(name)  # last: an entry without a length is none
        return entry

    def entries(self) -> list[UsageEntry]:
        """All of them."""
        return list(self._entries.values())

    def take_changed(self) -> list[UsageEntry]:
        """Those that were added to since the last time."""
        taken, self.changed = self.changed, []
        for entry in taken:
            entry.is_changed = False
        return taken

    def put_back(self, entries: list[UsageEntry]) -> None:
        """They could not be told."""
        for entry in entries:
            if not entry.is_changed:
                entry.is_changed = True
                self.changed.append(entry)

    def close(self) -> None:
        """Let go of the file."""
        self.memory.close()
        if self._file >= 0:
            os.close(self._file)

    def _map(self, size: int) -> mmap.mmap:
        if self._file < 0:
            return mmap.mmap(-1, size)
        os.truncate(self._file, size)
        return mmap.mmap(self._file, size)

    def _grow(self) -> None:
        """Twice the entries. The file keeps what it holds; memory of our own has to be copied."""
        before, size = self.memory, len(self.memory)
        self.memory = self._map(ID_BYTES + (size - ID_BYTES) * 2)
        if self._file < 0:
            self.memory[:size] = before[:]
        before.close()

    def _recover(self) -> None:
        """Take up what the last process left; all of it is told once more, since nobody knows how much of it was."""
        found = bytes(self.memory[:ID_BYTES])
        if not found.isalnum():  # killed before it had an id
            return
        self.gateway = found.decode()
        for number in itertools.count():
            offset = ID_BYTES + number * ENTRY_BYTES
            if offset + ENTRY_BYTES > len(self.memory) or not (length := self.memory[offset]):
                break
            key = bytes(self.memory[offset + 1 : offset + 1 + length]).decode()
            hour, *numbers = NUMBERS.unpack_from(self.memory, offset + NUMBERS_AT)
            self._entries[key] = UsageEntry(self, offset + NUMBERS_AT, key, hour, Usage(*numbers))
        self.put_back([entry for entry in self._entries.values() if entry.invocations])


def _claim(path: Path) -> int:
    """The descriptor of a file that is ours alone: PATH, or PATH.1, PATH.2 … beside other processes of the machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        candidate = path.with_name(f"{path.name}.{number}") if number else path
        descriptor = os.open(candidate, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        return descriptor
    raise AssertionError("itertools.count ends")
