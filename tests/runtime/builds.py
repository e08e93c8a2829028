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
    from collections.abc import Callable, Sequence

    Make = Callable[[Path, Path], None]

CLIENTS_FOLDER = Path(__file__).resolve().parent / "clients"
RUNTIMES_FOLDER = Path(__file__).resolve().parents[2] / "runtime-image"


@dataclass(frozen=True)
class Language:
    """One language with its client."""

    name: str
    tools: tuple[tuple[str, ...], ...]
    """Each prints the version of what builds it."""
    make: Make
    """Puts the package's files into the second folder, from the sources in the first."""
    runtime: str = "provided.al2023"
    handler: str = "index.handle"


def build_function(language: Language, sources: Path | None = None) -> Path:
    """The folder of a language's function (clients/NAME by default), built now if the cache has none of them."""
    return build("function", language.name, sources or CLIENTS_FOLDER / language.name, language.make, language.tools)


def build_runtime(language: Language) -> Path:
    """What the language's image has as /var/runtime. Go, Rust and the like have none: their packages bring it."""
    return build("runtime", language.name, RUNTIMES_FOLDER / language.name, _run_build_script, language.tools)


def _run_build_script(sources: Path, target: Path) -> None:
    run([sources / "build", target])


def build(kind: str, name: str, sources: Path, make: Make, tools: Sequence[tuple[str, ...]]) -> Path:
    """The folder that `make` fills from the sources, once for all checkouts; `kind` and `name` tell what it is."""
    for tool in tools:
        if shutil.which(tool[0]) is None:
            raise FileNotFoundError(f"{tool[0]} is needed for the {kind} in {sources}")
    files = [file for file in sources.rglob("*") if file.is_file() and not _is_product(file.relative_to(sources))]
    versions = [part for tool in tools for part in (*tool, run(list(tool)))]
    target = cache_folder() / f"{kind}s" / key_of([make.__name__, *versions, *file_parts(sources, files)])
    with locked(cache_folder() / f"{kind}-{name}.lock"):
        if not target.exists():
            with step(f"building the {kind} for {name}"), appearing(target) as draft:
                draft.mkdir()
                make(sources, draft)
    return target


def _is_product(file: Path) -> bool:
    """Whether somebody built it beside its sources by hand, as the examples tell."""
    return file.parts[0] in ("dist", "target", "layer", "node_modules")


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
    """Classes at the package's root; the interfaces are the runtime's."""
    runtime = build_runtime(JAVA)
    run(["javac", "--release", "17", "-cp", f"{runtime}/lib/*", "-d", package, *sources.glob("*.java")])


def make_go(sources: Path, package: Path) -> None:
    """A static binary."""
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}
    target = str(package / "bootstrap")
    command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", target, "."]
    run(command, folder=sources, environment=environment)


def make_rust(sources: Path, package: Path) -> None:
    """A binary. What cargo made of the dependencies is kept: the next function with the same ones takes seconds."""
    target = cache_folder() / "cargo"
    fast = {"CARGO_PROFILE_DEV_DEBUG": "false", "CARGO_PROFILE_DEV_STRIP": "true"}
    environment = {**os.environ, **fast, "CARGO_TARGET_DIR": str(target)}
    run(["cargo", "build", "--locked", "--quiet"], folder=sources, environment=environment)
    shutil.copy(target / "debug" / "bootstrap", package / "bootstrap")


NODE_TOOLS = (("node", "--version"), ("npm", "--version"), ("g++", "--version"), ("cmake", "--version"))
JAVA_TOOLS = (("java", "--version"), ("mvn", "--version"))

PYTHON = Language("python", ((sys.executable, "--version"),), make_python)
NODEJS = Language("nodejs", NODE_TOOLS, make_nodejs, runtime="nodejs22.x")
JAVA = Language("java", JAVA_TOOLS, make_java, runtime="java17", handler="Handler::handleRequest")
GO = Language("go", (("go", "version"),), make_go)
RUST = Language("rust", (("cargo", "--version"),), make_rust)
LANGUAGES = (PYTHON, NODEJS, JAVA, GO, RUST)
