"""What each family of runtimes expects of a code package: where its handler is, and what inline code is called."""

import re
from collections.abc import Callable, Sequence

from funclet.core.archive import UNZIPPED_LIMIT_BYTES, ArchiveFacts
from funclet.errors import InvalidSpec

NAMES_SHOWN = 10

MODULE_SYNTAX = re.compile(r"^\s*(import|export)\b", re.MULTILINE)
"""A JavaScript text that is an ECMAScript module."""


def family(runtime: str) -> str:
    """python, nodejs, java or provided."""
    return re.split(r"[\d.]", runtime, maxsplit=1)[0]


def inline_name(runtime: str, handler: str, text: str) -> str:
    """The name of the file that holds code.inline."""
    kind = family(runtime)
    if kind == "python":
        return f"{python_module(handler)}.py"
    if kind == "nodejs":
        return f"{nodejs_module(handler)}.{'mjs' if MODULE_SYNTAX.search(text) else 'js'}"
    if kind == "provided":
        return "bootstrap"
    raise _invalid(f"code.inline cannot hold {runtime} code, which must be compiled: use configMap or url")


def check_package(runtime: str, handler: str, code: ArchiveFacts, layers: Sequence[ArchiveFacts]) -> None:
    """Raises InvalidSpec(InvalidCode) when code and layers are too large together, or lack what the runtime needs."""
    unzipped, limit = sum(facts.unzipped_bytes for facts in (code, *layers)), UNZIPPED_LIMIT_BYTES
    if unzipped > limit:
        raise _invalid(
            f"code and layers take {unzipped // 2**20} MiB unzipped; at most {limit // 2**20} MiB are allowed"
        )
    CHECKS[family(runtime)](code, handler, bool(layers))


def python_module(handler: str) -> str:
    """The module of a handler as a path without suffix: `app/main` for app.main.handle and for app/main.handle."""
    return handler.rpartition(".")[0].replace(".", "/")


def nodejs_module(handler: str) -> str:
    """`src/index` for src/index.handler and for src/index.api.handler, as aws-lambda-ric reads it."""
    folder, slash, name = handler.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _check_python(facts: ArchiveFacts, handler: str, has_layers: bool) -> None:
    module = python_module(handler)
    _require(facts, handler, [f"{module}.py", f"{module}/__init__.py"])


def _check_nodejs(facts: ArchiveFacts, handler: str, has_layers: bool) -> None:
    module = nodejs_module(handler)
    _require(facts, handler, [f"{module}.js", f"{module}.mjs", f"{module}.cjs", module])


def _check_java(facts: ArchiveFacts, handler: str, has_layers: bool) -> None:
    if not has_layers and not any(name.endswith((".class", ".jar")) for name in facts.names):
        raise _invalid(f"handler {handler} needs classes, or jars in lib/, in the archive; {_found(facts)}")


def _check_provided(facts: ArchiveFacts, handler: str, has_layers: bool) -> None:
    if not has_layers and "bootstrap" not in facts.names:
        raise _invalid(f"provided runtimes need a program named bootstrap at the archive's root; {_found(facts)}")


CHECKS: dict[str, Callable[[ArchiveFacts, str, bool], None]] = {
    "python": _check_python,
    "nodejs": _check_nodejs,
    "java": _check_java,
    "provided": _check_provided,
}


def _require(facts: ArchiveFacts, handler: str, candidates: list[str]) -> None:
    if not facts.names.intersection(candidates):
        first, *others = candidates
        raise _invalid(
            f"handler {handler} needs {first} (or {', '.join(others)}) at the archive's root; {_found(facts)}"
        )


def _found(facts: ArchiveFacts) -> str:
    found = sorted(facts.names)
    more = ", …" if len(found) > NAMES_SHOWN else ""
    return f"found: {', '.join(found[:NAMES_SHOWN]) or 'nothing'}{more}"


def _invalid(message: str) -> InvalidSpec:
    return InvalidSpec(message, reason="InvalidCode", field="spec.code")
