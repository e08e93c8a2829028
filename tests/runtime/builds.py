"""Builds the functions of clients/ with AWS's own runtime clients from their registries, once for all checkouts.

Each build is a folder in the cache, named after what it was made from: sources, lock file, tool.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.cache import appearing, cache_folder, file_parts, key_of, locked
from tests.cluster.steps import run, step

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent / "clients"


@dataclass(frozen=True)
class Client:
    """One runtime client: its folder in clients/, the tool that builds it, and how."""

    name: str
    tool: tuple[str, ...]
    """Prints the version of what builds it."""
    make: Callable[[Path, Path], None]
    """Puts the package's files into the second folder, from the sources in the first."""
    handler: str = "index.handle"
    runtime: str = "provided.al2023"


def build(client: Client) -> Path:
    """The folder of the client's package, built now if the cache has none of these sources."""
    sources = HERE / client.name
    if shutil.which(client.tool[0]) is None:
        raise FileNotFoundError(f"{client.tool[0]} is needed to build tests/runtime/clients/{client.name}")
    files = [file for file in sources.rglob("*") if file.is_file()]
    key = key_of([client.make.__name__, *client.tool, run(list(client.tool)), *file_parts(sources, files)])
    target = cache_folder() / "clients" / key
    with locked(cache_folder() / f"client-{client.name}.lock"):
        if not target.exists():
            with step(f"building the function on the runtime client for {client.name}"), appearing(target) as draft:
                draft.mkdir()
                client.make(sources, draft)
    return target


def files_of(folder: Path) -> dict[str, str | bytes]:
    """All files below it, by name."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def make_python(sources: Path, package: Path) -> None:
    """awslambdaric is in our own environment (requirements-dev.lock); on Lambda it would be in the image."""
    shutil.copy(sources / "index.py", package)
    script = f'#!/bin/sh\nexec {sys.executable} -m awslambdaric "$_HANDLER"\n'
    (package / "bootstrap").write_text(script)


def make_go(sources: Path, package: Path) -> None:
    """A static binary."""
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}
    target = str(package / "bootstrap")
    command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", target, "."]
    run(command, folder=sources, environment=environment)


PYTHON = Client("python", (sys.executable, "--version"), make_python)
GO = Client("go", ("go", "version"), make_go)
CLIENTS = (PYTHON, GO)
