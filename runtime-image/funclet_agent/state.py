"""The memory that the agent shares with one handler process: who is served, until when.

The handler process writes it without a system call; the agent looks only when a deadline it once saw has come. Every
field has one writer. `phase` is written after the fields that it makes valid.
"""

import mmap
import struct

PHASES = range(8)
IDLE, READING, BUSY, RESPONDING, INITIALISING, STREAMING, WRITING, RECEIVING = PHASES
"""`phase`. RECEIVING: bytes of whichever connection are in hand, and no invocation has begun; READING: the rest of a
body; RESPONDING: part of the answer may be on the wire: nobody else may answer.

STREAMING: the answer has begun, whole chunks of it are on the wire; WRITING: part of a chunk may be.
"""
RUNNING_PHASES = (BUSY, STREAMING, WRITING)
"""The function has the word: its timeout holds."""

PENDING, RUNNING, SUCCEEDED, FAILED = range(4)
"""`init`: what became of the import of the handler."""

TAIL_BYTES = 4096
"""Lambda's LogResult is the last 4 KB of the log."""

WATCHING, _INIT, _HAS_SERVED = range(3)
_INVOCATION = struct.Struct("<QQQ64p")
_INVOCATION_AT = 8
_BEGINNING = struct.Struct("<QQQ64pBBB")
"""An invocation, `started_line`, `tail_wanted` and `phase`, in one step and in this order."""
_STARTED, _TAIL_WANTED, PHASE = range(96, 99)
"""Where they are in `State.memory`."""
_NUMBER = struct.Struct("<Q")
_INIT_US_AT, _TAIL_LENGTH_AT, _TAIL_AT = 112, 120, 128


class Invocation:
    """What runs, as last written: times are nanoseconds of CLOCK_MONOTONIC."""

    def __init__(self, connection: int, started_ns: int, deadline_ns: int, request_id: bytes) -> None:
        self.connection = connection
        self.started_ns = started_ns
        self.deadline_ns = deadline_ns
        self.request_id = request_id.decode("latin-1")


class State:
    """Typed access to the shared memory of one slot."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 8192)
        """`memory[PHASE]` is what `phase` reads and writes, where a microsecond counts."""

    def reset(self) -> None:
        """Before a new handler process is forked."""
        self.memory[:] = bytes(8192)

    @property
    def phase(self) -> int:
        """Written by the handler process."""
        return self.memory[PHASE]

    @phase.setter
    def phase(self, phase: int) -> None:
        self.memory[PHASE] = phase

    @property
    def watching(self) -> int:
        """Written by the agent: 1 while it will look again by itself, so that it need not be told of a new deadline."""
        return self.memory[WATCHING]

    @watching.setter
    def watching(self, watching: int) -> None:
        self.memory[WATCHING] = watching

    @property
    def started_line(self) -> int:
        """Written by the handler process: 1 once the START line of this invocation is printed."""
        return self.memory[_STARTED]

    @started_line.setter
    def started_line(self, printed: int) -> None:
        self.memory[_STARTED] = printed

    @property
    def init(self) -> int:
        """Written by the handler process."""
        return self.memory[_INIT]

    @property
    def init_us(self) -> int:
        """How long the init phase took, in microseconds; 0 before its end."""
        return int(_NUMBER.unpack_from(self.memory, _INIT_US_AT)[0])

    def end_init(self, init: int, init_us: int) -> None:
        """The import ended."""
        _NUMBER.pack_into(self.memory, _INIT_US_AT, init_us)
        self.memory[_INIT] = init

    def begin_init(self, deadline_ns: int) -> None:
        """The import begins, outside of an invocation; written by the agent before the fork."""
        _INVOCATION.pack_into(self.memory, _INVOCATION_AT, 0, 0, deadline_ns, b"")
        self.memory[_INIT] = RUNNING
        self.memory[PHASE] = INITIALISING

    def begin_reading(self, connection: int) -> None:
        """The handler process waits for the rest of a body."""
        _INVOCATION.pack_into(self.memory, _INVOCATION_AT, connection, 0, 0, b"")
        self.memory[PHASE] = READING

    def begin(self, connection: int, started_ns: int, deadline_ns: int, request_id: bytes, tail_wanted: bool) -> None:
        """An invocation begins."""
        if tail_wanted:
            self.write_tail(b"")
        _BEGINNING.pack_into(
            self.memory, _INVOCATION_AT, connection, started_ns, deadline_ns, request_id, 0, tail_wanted, BUSY
        )

    @property
    def invocation(self) -> Invocation:
        """What the last `begin` wrote."""
        return Invocation(*_INVOCATION.unpack_from(self.memory, _INVOCATION_AT))

    @property
    def has_served(self) -> int:
        """Written by the handler process: 1 once it has answered an invocation."""
        return self.memory[_HAS_SERVED]

    @has_served.setter
    def has_served(self, answered: int) -> None:
        self.memory[_HAS_SERVED] = answered

    @property
    def tail_wanted(self) -> int:
        """1 if the caller of this invocation wants the end of its log."""
        return self.memory[_TAIL_WANTED]

    def write_tail(self, tail: bytes) -> None:
        """The end of the log, kept here so that it outlives the handler process; at most TAIL_BYTES."""
        _NUMBER.pack_into(self.memory, _TAIL_LENGTH_AT, len(tail))
        self.memory[_TAIL_AT : _TAIL_AT + len(tail)] = tail

    @property
    def tail(self) -> bytes:
        """What `write_tail` wrote."""
        length = int(_NUMBER.unpack_from(self.memory, _TAIL_LENGTH_AT)[0])
        return self.memory[_TAIL_AT : _TAIL_AT + min(length, TAIL_BYTES)]
