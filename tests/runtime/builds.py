"""Builds runtimes and the functions of clients/ with AWS's own runtime clients from their registries.

Each build is a folder in the cache, outside of all checkouts, named after what it was made from: sources, lock, tool.
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

CLIENTS_FOLDER = Path(__file__).resolve().parent / "clients"
RUNTIMES_FOLDER = Path(__file__).resolve().parents[2] / "runtime-image"


@dataclass(frozen=True)
class Language:
    """One language with its client."""

    name: str
    tools: tuple[tuple[str, ...], ...]
    """Each prints the version of what builds it."""
    make: Callable[[Path, Path], None]
    """Puts the package's files into the second folder, from the sources in the first."""
    runtime: str = "provided.al2023"
    handler: str = "index.handle"


def build_function(language: Language) -> Path:
    """The folder of a language's function (clients/NAME), built now if the cache has none of these sources."""
    return _build(language, "function", CLIENTS_FOLDER / language.name, language.make)


def build_runtime(language: Language) -> Path:
    """What the language's image has as /var/runtime. Go, Rust and the like have none: their packages bring it."""
    return _build(language, "runtime", RUNTIMES_FOLDER / language.name, _run_build_script)


def _run_build_script(sources: Path, target: Path) -> None:
    run([sources / "build", target])


def _build(language: Language, kind: str, sources: Path, make: Callable[[Path, Path], None]) -> Path:
    for tool in language.tools:
        if shutil.which(tool[0]) is None:
            raise FileNotFoundError(f"{tool[0]} is needed for the {kind} in {sources}")
    files = [file for file in sources.rglob("*") if file.is_file()]
    tools = [part for tool in language.tools for part in (*tool, run(list(tool)))]
    target = cache_folder() / f"{kind}s" / key_of([make.__name__, *tools, *file_parts(sources, files)])
    with locked(cache_folder() / f"{kind}-{language.name}.lock"):
        if not target.exists():
            with step(f"building the {kind} for {language.name}"), appearing(target) as draft:
                draft.mkdir()
                make(sources, draft)
    return target


def files_of(folder: Path) -> dict[str, str | bytes]:
    """All files below it, by name."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def make_python(sources: Path, package: Path) -> None:
    """awslambdaric is in our own environment (requirements-dev.lock)."""
    shutil.copy(sources / "index.py", package)
    script = f'#!/bin/sh\nexec {sys.executable} -m awslambdaric "$_HANDLER"\n'
    (package / "bootstrap").write_text(script)


def make_nodejs(sources: Path, package: Path) -> None:
    """aws-lambda-ric is the runtime's."""
    shutil.copy(sources / "index.mjs", package)


def make_java(sources: Path, package: Path) -> None:
    """A class at the package's root; the interfaces are the runtime's."""
    runtime = build_runtime(JAVA)
    run(["javac", "--release", "17", "-cp", f"{runtime}/lib/*", "-d", str(package), str(sources / "Handler.java")])


def make_go(sources: Path, package: Path) -> None:
    """A static binary."""
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}
    target = str(package / "bootstrap")
    command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", target, "."]
    run(command, folder=sources, environment=environment)


def make_rust(sources: Path, package: Path) -> None:
    """A binary; what cargo leaves behind is of no further use."""
    target = package / "target"
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    run(["cargo", "build", "--locked", "--quiet"], folder=sources, environment=environment)
    shutil.move(target / "debug" / "bootstrap", package / "bootstrap")
    shutil.rmtree(target)


NODE_TOOLS = (("node", "--version"), ("npm", "--version"), ("g++", "--version"), ("cmake", "--version"))
JAVA_TOOLS = (("java", "--version"), ("mvn", "--version"))

PYTHON = Language("python", ((sys.executable, "--version"),), make_python)
NODEJS = Language("nodejs", NODE_TOOLS, make_nodejs, runtime="nodejs22.x")
JAVA = Language("java", JAVA_TOOLS, make_java, runtime="java17", handler="Handler::handleRequest")
GO = Language("go", (("go", "version"),), make_go)
RUST = Language("rust", (("cargo", "--version"),), make_rust)
LANGUAGES = (PYTHON, NODEJS, JAVA, GO, RUST)
