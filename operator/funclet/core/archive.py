"""Code packages: zip archives, made in one way only and looked at before anything unpacks them."""

import io
import stat
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath

from funclet.errors import InvalidSpec

UNZIPPED_LIMIT_BYTES = 250 * 1024 * 1024
"""Lambda: "250 MB (the maximum size of the contents of a deployment package, unzipped)"."""

PACKED_LIMIT_BYTES = UNZIPPED_LIMIT_BYTES
"""An archive that is larger than its content may be is not worth reading."""

RATIO_LIMIT = 200
"""Deflate reaches about 1000 on zeros and below 20 on code: more than this in a large archive is a bomb."""

RATIO_FLOOR_BYTES = 10 * 1024 * 1024
"""Below this size the ratio does not matter."""

ENTRY_LIMIT = 65535

OLDEST_DATE = (1980, 1, 1, 0, 0, 0)
"""The zip format's first date: the same for all entries, so that the same files are the same package."""


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """What is in an archive that may be unpacked."""

    names: frozenset[str]
    unzipped_bytes: int
    packed_bytes: int


def pack(files: dict[str, bytes]) -> bytes:
    """The files as a zip archive; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, OLDEST_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, whatever this machine is
            entry.external_attr = (stat.S_IFREG | _mode(files[name])) << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def _mode(content: bytes) -> int:
    """What the kernel can run (a script with its interpreter, an ELF binary) may be run: a bootstrap, an extension."""
    return 0o755 if content.startswith((b"#!", b"\x7fELF")) else 0o644


def inspect(data: bytes) -> ArchiveFacts:
    """What the archive holds. Raises InvalidSpec(InvalidCode) for what must not or can't be unpacked."""
    entries = _entries(data)
    names: set[str] = set()
    for entry in entries:
        _check_entry(entry)
        name = entry.filename.rstrip("/")
        if name in names:
            raise _invalid(f"{entry.filename!r} is in the archive twice: make the archive anew")
        names.add(name)
    unzipped = sum(entry.file_size for entry in entries)
    _check_size(unzipped, len(data))
    return ArchiveFacts(frozenset(e.filename for e in entries if not e.is_dir()), unzipped, len(data))


def check_names(names: list[str]) -> None:
    """Raises InvalidSpec(InvalidCode) for file names (of code.files) that can't stand in an archive."""
    for name in names:
        _check_name(name)
        for parent in PurePosixPath(name).parents:
            if str(parent) in names:
                raise _invalid(f"{parent} is a file and a folder at a time: rename one of them")


def _entries(data: bytes) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise _invalid(f"the code is not a zip archive ({error}): pack it with `zip -r code.zip .`") from error
    if len(entries) > ENTRY_LIMIT:
        raise _invalid(f"the archive has {len(entries)} entries; at most {ENTRY_LIMIT} are allowed")
    return entries


def _check_entry(entry: zipfile.ZipInfo) -> None:
    _check_name(entry.filename)
    if entry.flag_bits & 0x1:
        raise _invalid(f"{entry.filename!r} is encrypted: pack the archive without a password")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise _invalid(f"{entry.filename!r} is a symbolic link: pack the file itself (zip without -y)")


def _check_name(name: str) -> None:
    parts = name.removesuffix("/").split("/")
    if name.startswith("/") or "\\" in name or "\0" in name or (len(parts[0]) == 2 and parts[0][1] == ":"):
        raise _invalid(f"the file name {name!r} is absolute: names must be relative, with forward slashes")
    if any(part in ("", ".", "..") for part in parts):
        raise _invalid(f"the file name {name!r} leads out of the archive: names must be plain relative paths")


def _check_size(unzipped: int, packed: int) -> None:
    if unzipped > UNZIPPED_LIMIT_BYTES:
        raise _invalid(
            f"the code takes {unzipped // 2**20} MiB unzipped; at most {UNZIPPED_LIMIT_BYTES // 2**20} MiB are allowed"
        )
    if unzipped > RATIO_FLOOR_BYTES and unzipped > RATIO_LIMIT * packed:
        raise _invalid(f"the archive grows to {unzipped // max(packed, 1)} times its size: this is not code")


def _invalid(message: str) -> InvalidSpec:
    return InvalidSpec(message, reason="InvalidCode", field="spec.code")
