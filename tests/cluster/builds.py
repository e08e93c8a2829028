"""The programs that are built from Go modules: Kubernetes, CoreDNS, the pause program and Helm."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.cache import appearing, cache_folder, file_parts, key_of, locked
from tests.cluster.steps import run, step

HERE = Path(__file__).resolve().parent
FLAGS = ("-trimpath", "-buildvcs=false")
STRIPPED = "-s -w"


@dataclass(frozen=True)
class Program:
    """One binary: the module's folder beside this file, the package in it, and how long its first build takes."""

    name: str
    module: str
    package: str
    first_build: str


KUBERNETES = Program("kubernetes", "kubernetes", ".", "4 to 8 minutes")
COREDNS = Program("coredns", "kubernetes", "./dns", "10 s after Kubernetes")
PAUSE = Program("pause", "kubernetes", "./pause", "10 s")
HELM = Program("helm", "helm", "helm.sh/helm/v4/cmd/helm", "1 to 3 minutes")
PROGRAMS = (KUBERNETES, COREDNS, PAUSE, HELM)


def required_version(go_mod: str, module: str) -> str:
    """The version of a module that a go.mod requires: "v1.36.3"."""
    found = re.search(rf"^(?:require)?\s*{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise ValueError(f"go.mod requires no {module}")
    return found[1]


def linker_flags(program: Program, go_mod: str) -> str:
    """Stripped; and Kubernetes told its own version, which a build from the module would give as v0.0.0."""
    if program != KUBERNETES:
        return STRIPPED
    version = required_version(go_mod, "k8s.io/kubernetes")
    major, minor, _ = version.removeprefix("v").split(".")
    facts = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join([STRIPPED, *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in facts.items())])


def sources(program: Program) -> list[Path]:
    """The files that decide what the program is: its module's pins and its own package."""
    module = HERE / program.module
    package = module / program.package
    own = list(package.glob("*.go")) if package.is_dir() else []
    return [module / "go.mod", module / "go.sum", *own]


def program_key(program: Program) -> str:
    module = HERE / program.module
    flags = (*FLAGS, linker_flags(program, (module / "go.mod").read_text()))
    return key_of([program.package, *flags, *file_parts(module, sources(program))])


def program_path(program: Program) -> Path:
    """Where the binary is once it is built."""
    return cache_folder() / "bin" / program_key(program) / program.name


def build(program: Program) -> Path:
    """The program's binary, built now if the cache has none of these sources."""
    target = program_path(program)
    if target.exists():
        return target
    with locked(cache_folder() / "build.lock"):
        if target.exists():
            return target
        with step(f"building {program.name} (the first time {program.first_build})"), appearing(target) as draft:
            module = HERE / program.module
            flags = linker_flags(program, (module / "go.mod").read_text())
            run(
                ["go", "build", *FLAGS, "-ldflags", flags, "-o", draft, program.package],
                folder=module,
                environment={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
            )
    return target
