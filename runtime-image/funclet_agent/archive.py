"""Unpacks a code package (zip) and refuses whatever could write elsewhere or never end.

The standard library's zipfile takes 10 ms to import and checks none of this; every cold start would pay. Layout:
APPNOTE.TXT 6.3.10, 4.3.6 to 4.3.16. Stored and deflated entries only; no ZIP64, which starts where our limits end.
"""

import os
import stat
import struct
import zlib

from funclet_agent.errors import AgentError

MAX_UNZIPPED_BYTES = 250 * 1024 * 1024
"""Lambda's limit on an unzipped package."""

_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _UTF8 = 0x1, 0x800


class ArchiveError(AgentError):
    """The archive is refused; the message says why."""


class Entry:
    """One line of the central directory."""

    def __init__(self, fields: tuple[int, ...], name: str) -> None:
        self.name = name
        self.flags = fields[3]
        self.method = fields[4]
        self.crc = fields[7]
        self.packed_size = fields[8]
        self.size = fields[9]
        self.mode = fields[15] >> 16
        self.offset = fields[16]

    @property
    def is_directory(self) -> bool:
        """Directories end with a slash (APPNOTE 4.3.8)."""
        return self.name.endswith("/")


def unpack(packages: list[tuple[memoryview, str]]) -> None:
    """Write all files of each archive below its root, in this order: of two files with one path the later one stays.

    Everything is checked before anything is written.
    """
    directories = [(data, root, read_directory(data)) for data, root in packages]
    for _, _, entries in directories:
        check_entries(entries)
    if sum(entry.size for _, _, entries in directories for entry in entries) > MAX_UNZIPPED_BYTES:
        raise ArchiveError(f"the unzipped code, with its layers, must not exceed {MAX_UNZIPPED_BYTES} bytes")
    written: dict[str, None] = {}
    try:
        for data, root, entries in directories:
            for entry in entries:
                write_entry(data, entry, root, written)
    except BaseException:
        for path in written:
            os.unlink(path)
        raise


def read_directory(data: memoryview) -> list[Entry]:
    """The central directory."""
    count, position = _find_directory(data)
    entries = []
    for _ in range(count):
        if position + _ENTRY.size > len(data):
            raise ArchiveError("the archive is cut off in its directory")
        fields = _ENTRY.unpack_from(data, position)
        if fields[0] != b"PK\1\2":
            raise ArchiveError("the archive's directory is damaged")
        name_end = position + _ENTRY.size + fields[10]
        entries.append(Entry(fields, _decode_name(bytes(data[position + _ENTRY.size : name_end]), fields[3])))
        position = name_end + fields[11] + fields[12]
    return entries


def _find_directory(data: memoryview) -> tuple[int, int]:
    """Number of entries and where the directory starts. The end record is last but for a comment of up to 64 KiB."""
    tail_start = max(0, len(data) - _END.size - 65535)
    found = bytes(data[tail_start:]).rfind(b"PK\5\6")
    if found < 0 or tail_start + found + _END.size > len(data):
        raise ArchiveError("the code package is not a zip archive")
    _, _, _, _, count, _, position, _ = _END.unpack_from(data, tail_start + found)
    if count == 0xFFFF or position == 0xFFFFFFFF:
        raise ArchiveError("ZIP64 archives are not supported")
    return count, position


def _decode_name(name: bytes, flags: int) -> str:
    try:
        return name.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError as error:
        raise ArchiveError(f"an entry's name is not UTF-8: {name!r}") from error


def check_entries(entries: list[Entry]) -> None:
    """Refuse names that lead out of the root, links and duplicates."""
    seen: set[str] = set()
    for entry in entries:
        _check_name(entry.name)
        _check_kind(entry)
        name = os.path.normpath(entry.name)
        if name in seen and not entry.is_directory:
            raise ArchiveError(f"the archive holds {entry.name!r} twice")
        seen.add(name)


def _check_name(name: str) -> None:
    if not name or name.startswith("/") or "\\" in name or "\0" in name or name[1:2] == ":":
        raise ArchiveError(f"the archive's entry {name!r} is not a relative path")
    if ".." in name.split("/"):
        raise ArchiveError(f"the archive's entry {name!r} leads out of the package")


def _check_kind(entry: Entry) -> None:
    kind = stat.S_IFMT(entry.mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError(f"the archive's entry {entry.name!r} is a link or a device")
    if entry.flags & _ENCRYPTED or entry.method not in (_STORED, _DEFLATED):
        raise ArchiveError(f"the archive's entry {entry.name!r} is encrypted or packed by another method than deflate")


def write_entry(data: memoryview, entry: Entry, root: str, written: dict[str, None]) -> None:
    """Write one file or make one directory; adds a written file to `written`, whose files it may replace."""
    path = os.path.normpath(os.path.join(root, entry.name))
    try:
        if entry.is_directory:
            os.makedirs(path, exist_ok=True)
            return
        content = read_content(data, entry)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if path in written:
            os.unlink(path)
        mode = stat.S_IMODE(entry.mode) & 0o755 | 0o444
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        written[path] = None
        with open(descriptor, "wb", buffering=0) as file:
            write_all(file.fileno(), content)
    except OSError as error:
        raise ArchiveError(f"{entry.name!r} cannot be written: {error.strerror}") from error


def write_all(descriptor: int, content: memoryview) -> None:
    """One write takes at most 2 GiB and may be short."""
    while content:
        content = content[os.write(descriptor, content) :]


def read_content(data: memoryview, entry: Entry) -> memoryview:
    """The unpacked bytes of an entry, never more than it declares."""
    if entry.offset + _LOCAL.size > len(data):
        raise ArchiveError(f"{entry.name!r} is not in the archive")
    local = _LOCAL.unpack_from(data, entry.offset)
    start = entry.offset + _LOCAL.size + local[9] + local[10]
    packed = data[start : start + entry.packed_size]
    content = packed if entry.method == _STORED else _inflate(packed, entry)
    if len(content) != entry.size or zlib.crc32(content) != entry.crc:
        raise ArchiveError(f"{entry.name!r} is damaged")
    return content


def _inflate(packed: memoryview, entry: Entry) -> memoryview:
    """Raw deflate, stopped one byte after the declared size."""
    try:
        return memoryview(zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, entry.size + 1))
    except zlib.error as error:
        raise ArchiveError(f"{entry.name!r} is damaged: {error}") from error
