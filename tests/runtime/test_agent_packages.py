"""Code packages that must not be unpacked, and what an honest one looks like on disk."""

import io
import stat
import zipfile

import pytest
from tests.runtime.agent_client import Agent, package


def archive(*entries: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content)
    return buffer.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def damaged() -> bytes:
    content = bytearray(archive((zipfile.ZipInfo("index.py"), b"content")))
    content[content.find(b"content")] ^= 1
    return bytes(content)


def bomb() -> bytes:
    """Declares 10 bytes and unpacks to a million."""
    content = bytearray(archive(("index.py", bytes(1_000_000))))
    at = content.find(b"PK\1\2")
    content[at + 24 : at + 28] = (10).to_bytes(4, "little")
    return bytes(content)


def too_large() -> bytes:
    """Declares 300 MB."""
    content = bytearray(archive(("index.py", b"x")))
    at = content.find(b"PK\1\2")
    content[at + 24 : at + 28] = (300 * 1024 * 1024).to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (b"no zip at all", "not a zip archive"),
        (archive(("../out.py", b"")), "leads out of the package"),
        (archive(("a/../../out.py", b"")), "leads out of the package"),
        (archive(("/etc/out.py", b"")), "not a relative path"),
        (archive((link("link"), b"/etc/passwd")), "link or a device"),
        (archive(("a/b", b"1"), ("a//b", b"2")), "twice"),
        (damaged(), "is damaged"),
        (bomb(), "is damaged"),
        (too_large(), "must not exceed"),
        (archive(("index.py", b"x"))[:-30], "not a zip archive"),
        (archive(("a", b"1"), ("a/b", b"2")), "cannot be written"),
    ],
)
def test_hostile_archives_are_refused_and_leave_nothing(agent: Agent, code: bytes, message: str) -> None:
    answer = agent.specialise(code)
    assert answer.status == 400
    assert message in answer.json["message"]
    assert not [path for path in agent.task_root.rglob("*") if path.is_file()]
    assert agent.status()["state"] == "generic"
    assert (
        agent.specialise("def lambda_handler(event, context): return 1\n", handler="index.lambda_handler").status == 200
    )


def test_packages_keep_folders_and_executables(agent: Agent) -> None:
    tool = zipfile.ZipInfo("bin/tool")
    tool.external_attr = (stat.S_IFREG | 0o755) << 16
    code = archive(
        ("empty/", b""), (tool, b"#!/bin/sh\n"), ("index.py", b"def lambda_handler(event, context): return 1\n")
    )
    assert agent.specialise(code).status == 200
    assert (agent.task_root / "empty").is_dir()
    assert stat.S_IMODE((agent.task_root / "bin" / "tool").stat().st_mode) & 0o111
    assert agent.invoke().json == 1


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "function must be there"),
    ],
)
def test_bad_heads_are_refused(agent: Agent, head: bytes, message: str) -> None:
    body = len(head).to_bytes(4, "big") + head + package({"index.py": ""})
    answer = agent.control("POST", "/v1/specialise", body)
    assert answer.status == 400
    assert message in answer.json["message"]


def test_a_body_shorter_than_its_head_is_refused(agent: Agent) -> None:
    assert agent.control("POST", "/v1/specialise", b"\0\0\1\0{}").status == 400
