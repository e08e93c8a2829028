"""What each family of runtimes expects of a package, and what inline code is called."""

import pytest

from funclet.core.archive import ArchiveFacts, inspect, pack
from funclet.core.runtimes import check_package, family, inline_name
from funclet.errors import InvalidSpec


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [("python3.13", "python"), ("nodejs22.x", "nodejs"), ("java21", "java"), ("provided.al2023", "provided")],
)
def test_the_family_of_a_runtime(runtime: str, expected: str) -> None:
    assert family(runtime) == expected


@pytest.mark.parametrize(
    ("runtime", "handler", "text", "expected"),
    [
        ("python3.13", "index.lambda_handler", "", "index.py"),
        ("python3.13", "app.main.handle", "", "app/main.py"),
        ("nodejs22.x", "index.handler", "exports.handler = async () => 1", "index.js"),
        ("nodejs22.x", "src/index.handler", "export const handler = async () => 1", "src/index.mjs"),
        ("nodejs20.x", "index.api.handler", "import fs from 'node:fs'\nexport const api = {}", "index.mjs"),
        ("provided.al2023", "anything", "#!/bin/sh", "bootstrap"),
    ],
)
def test_the_file_of_inline_code(runtime: str, handler: str, text: str, expected: str) -> None:
    assert inline_name(runtime, handler, text) == expected


def test_java_cannot_be_inline() -> None:
    with pytest.raises(InvalidSpec, match="java21 code, which must be compiled"):
        inline_name("java21", "example.Handler", "class Handler {}")


@pytest.mark.parametrize(
    ("files", "runtime", "handler"),
    [
        (["index.py"], "python3.13", "index.lambda_handler"),
        (["app/__init__.py"], "python3.13", "app.handle"),
        (["app/main.py"], "python3.13", "app.main.handle"),
        (["app/main.py"], "python3.13", "app/main.handle"),
        (["index.js"], "nodejs22.x", "index.handler"),
        (["src/index.mjs"], "nodejs22.x", "src/index.handler"),
        (["index.cjs"], "nodejs20.x", "index.api.handler"),
        (["example/Handler.class"], "java17", "example.Handler::handle"),
        (["lib/all.jar"], "java21", "example.Handler"),
        (["bootstrap"], "provided.al2023", "anything"),
    ],
)
def test_the_handler_is_found(files: list[str], runtime: str, handler: str) -> None:
    check_package(runtime, handler, inspect(pack(dict.fromkeys(files, b""))), [])


@pytest.mark.parametrize(
    ("runtime", "handler", "message"),
    [
        (
            "python3.13",
            "index.f",
            "handler index.f needs index.py (or index/__init__.py) at the archive's root; {found}",
        ),
        ("nodejs22.x", "a.f", "handler a.f needs a.js (or a.mjs, a.cjs, a) at the archive's root; {found}"),
        ("java21", "a.B::c", "handler a.B::c needs classes, or jars in lib/, in the archive; {found}"),
        ("provided.al2023", "x", "provided runtimes need a program named bootstrap at the archive's root; {found}"),
    ],
)
def test_a_missing_handler_says_what_is_there(runtime: str, handler: str, message: str) -> None:
    facts = inspect(pack({"main.py": b"", "README": b""}))
    with pytest.raises(InvalidSpec) as refusal:
        check_package(runtime, handler, facts, [])
    assert refusal.value.message == message.format(found="found: README, main.py")


@pytest.mark.parametrize(("runtime", "handler"), [("java21", "a.B::c"), ("provided.al2023", "x")])
def test_layers_may_bring_what_the_package_lacks(runtime: str, handler: str) -> None:
    check_package(runtime, handler, inspect(pack({"README": b""})), [inspect(pack({"lib/a": b""}))])


def test_code_and_layers_share_one_limit() -> None:
    code = ArchiveFacts(frozenset({"index.py"}), unzipped_bytes=200 * 2**20, packed_bytes=1)
    layer = ArchiveFacts(frozenset({"python/a.py"}), unzipped_bytes=51 * 2**20, packed_bytes=1)
    check_package("python3.13", "index.f", code, [])
    with pytest.raises(InvalidSpec, match="code and layers take 251 MiB unzipped; at most 250 MiB are allowed"):
        check_package("python3.13", "index.f", code, [layer])
