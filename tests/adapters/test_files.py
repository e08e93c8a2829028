"""Resources of YAML files: events as a Kubernetes API server would send them, and mistakes with their lines."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from funclet.adapters.files import FileResources
from funclet.adapters.resources import DELETED, SYNCED, UPSERTED, ResourceEvent
from funclet.errors import Conflict

FUNCTION = """\
apiVersion: funclet.dev/v1
kind: Function
metadata: {name: hello}
spec:
  runtime: python3.13
  handler: index.h
  timeout: 3
  code:
    directory: ./src
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "index.py").write_text("x = 1")
    (tmp_path / "hello.yaml").write_text(FUNCTION)
    return tmp_path


async def take(events: AsyncIterator[ResourceEvent]) -> ResourceEvent:
    async with asyncio.timeout(60):
        return await anext(events)


async def test_a_file_is_live_at_once(folder: Path) -> None:
    async with aclosing(FileResources([folder]).watch("Function")) as events:  # type: ignore[type-var]
        first = await take(events)
        assert (first.type, first.key) == (UPSERTED, "default/hello")
        assert first.object["spec"]["code"]["directory"] == str(folder / "src")
        assert (await take(events)).type is SYNCED

        (folder / "hello.yaml").write_text(FUNCTION.replace("timeout: 3", "timeout: 5"))
        changed = await take(events)
        assert (changed.object["spec"]["timeout"], changed.object["metadata"]["generation"]) == (5, 2)
        assert changed.object["metadata"]["uid"] == first.object["metadata"]["uid"]

        (folder / "src" / "index.py").write_text("x = 23")
        recoded = await take(events)
        assert recoded.object["metadata"]["generation"] == 3
        assert recoded.object["metadata"]["annotations"] != changed.object["metadata"]["annotations"]

        (folder / "hello.yaml").unlink()
        assert (await take(events)).type is DELETED


async def test_a_mistake_has_its_line_and_the_last_good_object_stays(folder: Path) -> None:
    problems: list[str] = []
    resources = FileResources([folder], problems.append)
    async with aclosing(resources.watch("Function")) as events:  # type: ignore[type-var]
        await take(events)
        await take(events)
        wrong = FUNCTION.replace("timeout: 3", "timeout: 9999").replace("name: hello", "name: second")
        (folder / "hello.yaml").write_text(f"{FUNCTION.replace('timeout: 3', 'timeOut: 3')}---\n{wrong}")
        (folder / "more.yaml").write_text(FUNCTION.replace("hello", "third"))
        assert (await take(events)).key == "default/third"
        await resources.patch_status("Function", "default", "hello", {"instances": 1})
        kept = await take(events)
        assert (kept.key, kept.object["spec"]["timeout"]) == ("default/hello", 3)
    file = folder / "hello.yaml"
    assert problems == [
        f"{file}:7: Function/hello: spec.timeOut: no such field",
        f"{file}:17: Function/second: spec.timeout: Input should be less than or equal to 900",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [\n", "2: not YAML: "),
        ("- 1\n", "1: not a resource: kind and metadata.name must be given"),
        (
            "---\nkind: Pod\nmetadata: {name: p}\n",
            "2: Pod/p: ignored: only Function, Version, Alias, Trigger, Secret, ConfigMap",
        ),
        ("kind: Secret\nmetadata: {name: s}\ndata:\n  a: '%'\n", "3: Secret/s: data: the values of a must be base64"),
        ("kind: Secret\nmetadata: {name: s}\nstringData: {a: 1}\n", "3: Secret/s: stringData: must be a map of texts"),
        ("kind: Function\nmetadata: {name: f}\n", "1: Function/f: spec: must be given"),
        (FUNCTION + "status: {}\n", "10: Function/hello: status: is written by Funclet; leave it out"),
        (FUNCTION + "---\n" + FUNCTION, "11: Function/hello: ignored: it is at "),
    ],
)
def test_what_is_reported(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    problems: list[str] = []
    resources = FileResources([file], problems.append)
    resources.load()
    resources.load()
    assert len(problems) == 1
    assert problems[0].startswith(f"{file}:{problem}")


async def test_a_file_that_cannot_be_parsed_any_more_keeps_its_objects(folder: Path) -> None:
    problems: list[str] = []
    resources = FileResources([folder / "hello.yaml"], problems.append)
    resources.load()
    (folder / "hello.yaml").write_text(FUNCTION.replace("{name: hello}", "{name: hello"))
    resources.load()
    await resources.patch_status("Function", "default", "hello", {})
    assert len(problems) == 1


async def test_a_file_that_is_being_saved_keeps_its_objects(folder: Path) -> None:
    """Who saves it empties it first. What stays empty is meant."""
    file = folder / "hello.yaml"
    resources = FileResources([file])
    resources.load()
    file.write_text("")
    resources.load()
    await resources.patch_status("Function", "default", "hello", {})
    os.utime(file, (0, 0))
    resources.load()
    with pytest.raises(Conflict):
        await resources.patch_status("Function", "default", "hello", {})


async def test_two_changes_within_one_step_of_the_file_systems_clock(folder: Path) -> None:
    file = folder / "hello.yaml"
    resources = FileResources([file])
    now = time.time_ns()
    async with aclosing(resources.watch("Function")) as events:  # type: ignore[type-var]
        await take(events)
        await take(events)
        for seconds in (4, 5):
            file.write_text(FUNCTION.replace("timeout: 3", f"timeout: {seconds}"))
            os.utime(file, ns=(now, now))
            resources.load()
            assert (await take(events)).object["spec"]["timeout"] == seconds


async def test_secrets_and_config_maps(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(
        "kind: Secret\nmetadata: {name: s}\ndata: {a: AAE=}\nstringData: {b: text}\n"
        "---\nkind: ConfigMap\nmetadata: {name: c, namespace: other}\ndata: {t: x}\nbinaryData: {b: AAE=}\n"
    )
    resources = FileResources([tmp_path])
    resources.load()
    secret = await resources.find_secret("default", "s")
    assert secret is not None
    assert secret.data == {"a": b"\x00\x01", "b": b"text"}
    config_map = await resources.find_config_map("other", "c")
    assert config_map is not None
    assert (config_map.data, config_map.binary_data) == ({"t": "x"}, {"b": b"\x00\x01"})
    assert await resources.find_secret("default", "c") is None
    async with aclosing(resources.watch("Secret")) as events:  # type: ignore[type-var]
        assert not {"data", "stringData"} & (await take(events)).object.keys()


async def test_the_status_of_what_is_gone_is_a_conflict(tmp_path: Path) -> None:
    resources = FileResources([tmp_path])
    resources.load()
    with pytest.raises(Conflict) as conflict:
        await resources.patch_status("Function", "default", "none", {})
    assert conflict.value.reason == "NotFound"
