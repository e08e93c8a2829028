"""A folder of source files, as `funclet local` takes it for a function's code."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from funclet.errors import InvalidSpec


def read_directory(folder: Path) -> dict[str, bytes]:
    """The folder's files by relative path with forward slashes, without caches and dotfiles."""
    if not folder.is_dir():
        raise InvalidSpec(f"there is no folder {folder}: create it or change code.directory", reason="CodeNotFound")
    try:
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in _files(folder)}
    except OSError as error:
        raise InvalidSpec(f"the folder {folder} cannot be read: {error}", reason="CodeNotFound") from error


def directory_mark(folder: Path) -> str:
    """A short text that changes when a file of the folder does. It looks at sizes and times, not at the content."""
    digest = hashlib.sha256()
    for file in _files(folder):
        try:
            stat = file.stat()
        except OSError:
            continue  # gone since it was listed: the next look sees the folder without it
        digest.update(f"{file.relative_to(folder)}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


def is_code(relative: Path) -> bool:
    """Whether a file belongs to the code: no cache, nothing hidden."""
    return not any(part == "__pycache__" or part.startswith(".") for part in relative.parts)


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if is_code(file.relative_to(folder)) and file.is_file())
