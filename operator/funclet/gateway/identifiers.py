"""Request ids and trace ids.

By hand and many at a time: uuid.uuid4 takes ten times as long, a third of it for the system call.
"""

import os
import time

BATCH = 256
FORM = b"xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx "
"""RFC 9562, 5.4: x are random digits, 4 is the version, and the two upper bits of y, the variant, are 10."""
RANDOM_PLACES = [place for place, sign in enumerate(FORM.decode()) if sign == "x"]
VARIANT_PLACE = FORM.index(b"y")
VARIANT = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)
UUID_BYTES = 16
TRACE_BYTES = 12
UNDECIDED = ";Sampled=0"
"""Of a trace that begins here."""
LOWER_DIGITS = slice(24, 40)
"""Where such a header has the last half of the trace's id, by which it is decided whether it is recorded."""

_uuids: list[str] = []
_traces: list[str] = []
_second = 0.0
_root = ""
"""How the roots of this second's traces begin."""


def new_request_id() -> str:
    """A random UUID."""
    if not _uuids:
        _uuids.extend(_draw_uuids())
    return _uuids.pop()


def _draw_uuids() -> list[str]:
    """A batch: each digit of all of them at once."""
    digits = os.urandom(UUID_BYTES * BATCH).hex().encode()
    text = bytearray(FORM * BATCH)
    for number, place in enumerate(RANDOM_PLACES):
        text[place :: len(FORM)] = digits[number :: 2 * UUID_BYTES]
    text[VARIANT_PLACE :: len(FORM)] = digits[2 * UUID_BYTES - 1 :: 2 * UUID_BYTES].translate(VARIANT)
    return text.decode().split()


def new_trace_id(lineage: str = "") -> str:
    """The X-Ray header of a request that is not sampled."""
    global _second, _root
    if not _traces:
        _traces.extend(os.urandom(TRACE_BYTES * BATCH).hex("-", TRACE_BYTES).split("-"))
    second = time.time() // 1
    if second != _second:
        _second, _root = second, f"Root=1-{int(second):08x}-"
    return f"{_root}{_traces.pop()}{UNDECIDED}{lineage}"


def _forget() -> None:
    """A forked process must not give the ids of its parent again."""
    _uuids.clear()
    _traces.clear()


os.register_at_fork(after_in_child=_forget)
