"""What is built once and used by every checkout, in a folder outside of them.

Each entry is named after what it was made from. It appears by a rename when it is complete, so an interrupted build
leaves nothing half-made behind; a lock keeps two builds of the same thing apart.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def cache_folder() -> Path:
    """FUNCLET_CACHE, or funclet/ in the user's cache folder."""
    chosen = os.environ.get("FUNCLET_CACHE")
    if chosen:
        return Path(chosen).resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "funclet"


def key_of(parts: Iterable[str | bytes]) -> str:
    """A key for content: each part counts with its length, so that ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:20]


def file_parts(folder: Path, files: Iterable[Path]) -> Iterator[str | bytes]:
    """What of these files a build depends on: name below the folder, executable or not, content or link target."""
    for file in sorted(files):
        yield file.relative_to(folder).as_posix()
        if file.is_symlink():
            yield f"-> {os.readlink(file)}"
        else:
            yield "x" if file.stat().st_mode & 0o100 else "-"
            yield file.read_bytes()


@contextlib.contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Holds the lock file; waits for whoever has it. The kernel lets go of it when a process dies."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A path to write a file or a folder to; it takes the target's place if the block ends well, else it goes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield draft
        draft.replace(target)
    finally:
        if draft.is_dir() and not draft.is_symlink():
            shutil.rmtree(draft)
        else:
            draft.unlink(missing_ok=True)
