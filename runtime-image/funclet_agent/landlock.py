"""Landlock (landlock(7)): without any privilege a process gives up writing, but below some folders, for itself and for
all that it will ever start.
"""

import os
import struct
import sys
from collections.abc import Iterable

try:
    # What the package ctypes is built upon; all of it would cost every idle instance 0.3 MiB and some milliseconds.
    import _ctypes
except ImportError:
    _ctypes = None  # type: ignore[assignment]

MIN_VERSION = 2
"""Linux 5.19. Version 1 (5.13) forbids each rename from one folder to another, where writing is allowed as well."""
TRUNCATE_VERSION = 3

# linux/landlock.h, linux/prctl.h; the system calls have these numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_WRITE_FILE = 1 << 1
_REMOVE_MAKE_REFER = 0b1111111111 << 4
"""REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM, REFER."""
_TRUNCATE = 1 << 14


def is_available() -> bool:
    """Whether this kernel has it, and whether a container's seccomp profile lets us ask."""
    return _version() >= MIN_VERSION


def give_up_writing(writable: Iterable[str]) -> None:
    """From now on no file can be made, changed or removed but below these folders; those that are not there are none.

    Descriptors that are open stay as they are. A process that does such a thing gets EACCES. Raises OSError.
    """
    rights = _WRITE_FILE | _REMOVE_MAKE_REFER
    if _version() >= TRUNCATE_VERSION:
        rights |= _TRUNCATE
    ruleset = _syscall(_CREATE_RULESET, struct.pack("=Q", rights), 8, 0)
    try:
        for folder in writable:
            _allow(ruleset, rights, folder)
        _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, rights: int, folder: str) -> None:
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        _syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def _version() -> int:
    if _ctypes is None or sys.platform != "linux":
        return 0
    try:
        return _syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError:
        return 0


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    return _call("syscall", number, *arguments)


def _call(name: str, *arguments: int | bytes | None) -> int:
    """A function of the C library; bytes are given by their address."""
    libraries = _ctypes.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]  # dlopen(3): all that is loaded already
    address = _ctypes.dlsym(libraries, name)
    result: int = _ctypes.call_function(address, arguments)
    if result < 0:
        raise OSError(f"{name}{arguments[:1]} was refused")
    return result
