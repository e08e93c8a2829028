"""Which files of a build context count: the rules of a .dockerignore file.

One pattern a line, relative to the context; `#` comments; `*` and `?` stop at a slash, `**` does not; `!` takes back;
the last line that matches a path, or a folder above it, decides.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def parse(text: str) -> list[tuple[bool, re.Pattern[str]]]:
    """Each pattern as (ignored or taken back, what it matches), in the file's order."""
    rules = []
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        ignores = not line.startswith("!")
        pattern = line.removeprefix("!").strip().strip("/").removeprefix("./")
        rules.append((ignores, re.compile(expression(pattern))))
    return rules


def expression(pattern: str) -> str:
    """The pattern as a regular expression that also matches everything below what it names."""
    parts = []
    for piece in re.findall(r"\*\*/|\*\*|\*|\?|\[[^]]*\]|\\.|.", pattern):
        match piece:
            case "**/":
                parts.append("(?:.*/)?")
            case "**":
                parts.append(".*")
            case "*":
                parts.append("[^/]*")
            case "?":
                parts.append("[^/]")
            case _ if piece.startswith("["):
                parts.append(piece)
            case _:
                parts.append(re.escape(piece[-1]))
    return f"{''.join(parts)}(?:/.*)?\\Z"


def is_ignored(path: str, rules: Sequence[tuple[bool, re.Pattern[str]]]) -> bool:
    ignored = False
    for ignores, pattern in rules:
        if pattern.match(path):
            ignored = ignores
    return ignored


def context_files(context: Path, rules: Sequence[tuple[bool, re.Pattern[str]]]) -> Iterator[Path]:
    """The files and links of the context that are not ignored, in no promised order."""
    can_take_back = any(not ignores for ignores, _ in rules)
    for folder, names, files in os.walk(context):
        below = Path(folder)
        links = [name for name in names if (below / name).is_symlink()]
        if not can_take_back:  # then nothing below an ignored folder can count
            names[:] = [name for name in names if not is_ignored((below / name).relative_to(context).as_posix(), rules)]
        for name in [*files, *links]:
            if not is_ignored((below / name).relative_to(context).as_posix(), rules):
                yield below / name
