"""Ctrl-C ends everything and leaves nothing behind; so does the end of the process by force."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.e2e.worlds import LocalWorld, eventually

HELLO = {
    "apiVersion": "funclet.dev/v1",
    "kind": "Function",
    "metadata": {"name": "hello"},
    "spec": {
        "runtime": "python3.13",
        "handler": "index.handler",
        "code": {"inline": "import os\ndef handler(event, context): return os.getpid()"},
    },
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalWorld]:
    """A `funclet local` of this test alone, whose temporary files are in tmp_path/tmp."""
    temporary, resources = tmp_path / "tmp", tmp_path / "resources"
    temporary.mkdir()
    resources.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (resources / "function-hello.yaml").write_text(yaml.safe_dump(HELLO))
    world = LocalWorld(resources)
    yield world
    world.close()


def descendants(pid: int) -> set[int]:
    """All processes below this one."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, newest = set[int](), {pid}
    while newest := {child for child, parent in parents.items() if parent in newest}:
        found |= newest
    return found


def running(pids: set[int]) -> set[int]:
    """Those that have not ended; a zombie has."""
    found = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.add(pid)
    return found


def test_ctrl_c_leaves_nothing_behind(own: LocalWorld, tmp_path: Path) -> None:
    own.wait_ready("Function", "hello")
    handler = own.invoke("hello").payload
    children = descendants(own.process.pid)
    assert handler in children
    assert own.interrupt() == 0
    eventually(lambda: not running(children))
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_killed_house_leaves_no_process(own: LocalWorld) -> None:
    own.wait_ready("Function", "hello")
    own.invoke("hello")
    children = descendants(own.process.pid)
    own.process.kill()
    eventually(lambda: not running(children))
