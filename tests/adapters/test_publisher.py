"""Publishing over YAML files and a real package store: whatever the order in which things come."""

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.control_world import World, running
from tests.adapters.test_catalog import until

from funclet.core.qualifiers import AliasRoute


@pytest.fixture
async def world(tmp_path: Path, nats_url: str) -> AsyncIterator[World]:
    async with running(tmp_path, nats_url) as world:
        yield world


def source(word: str) -> dict[str, str]:
    return {"inline": f"def h(event, context): return {word!r}"}


def publish(world: World, name: str, function: str = "hello", **spec: Any) -> None:
    world.write("Version", name, spec={"function": {"name": function}, **spec})


def point(world: World, name: str, version: str, weights: dict[str, float] | None = None) -> None:
    routing = {"additionalVersionWeights": weights or {}}
    spec = {"function": {"name": "hello"}, "name": name, "functionVersion": version, "routingConfig": routing}
    world.write("Alias", name, spec=spec)


async def code_of(world: World, name: str) -> str:
    """What a Version has published."""
    await world.reason("Version", name, "Published")
    snapshot = world.statuses["Version", name]["snapshot"]
    with zipfile.ZipFile(io.BytesIO(await world.packages.get(snapshot["codeSha256"]))) as package:
        return package.read("index.py").decode()


async def test_what_is_applied_in_one_go_is_published_together(world: World) -> None:
    for number in range(1, 6):
        world.function("hello", source(f"word {number}"))
        publish(world, f"v{number}")
        world.resources.load()
        assert f"word {number}" in await code_of(world, f"v{number}")
        assert world.statuses["Version", f"v{number}"]["version"] == number
    assert "word 1" in await code_of(world, "v1")
    await until(lambda: world.statuses["Function", "hello"]["lastVersion"] == 5)


async def test_a_version_waits_for_its_function(world: World) -> None:
    publish(world, "v1")
    world.resources.load()
    await world.reason("Version", "v1", "FunctionNotFound")
    world.function("hello", {"configMap": {"name": "code", "key": "code.zip"}})
    world.resources.load()
    await world.reason("Version", "v1", "FunctionNotReady")
    world.function("hello", source("word"))
    world.resources.load()
    assert "word" in await code_of(world, "v1")


async def test_versions_that_come_together_are_one(world: World) -> None:
    world.function("hello", source("word"))
    for name in ("a", "b", "c"):
        publish(world, name)
    world.resources.load()
    for name in ("a", "b", "c"):
        await world.reason("Version", name, "Published")
        assert world.statuses["Version", name]["version"] == 1
    await until(lambda: "default/hello:1" in world.catalog.functions)
    for name in ("a", "b"):
        (world.folder / f"Version-{name}.yaml").unlink()
    world.resources.load()
    publish(world, "d")
    world.resources.load()
    await world.reason("Version", "d", "Published")
    assert world.statuses["Version", "d"]["version"] == 1
    assert "default/hello:1" in world.catalog.functions


async def test_a_change_of_a_secret_renews_a_version_without_changing_it(world: World) -> None:
    environment = {"secrets": {"KEY": {"name": "s", "key": "k"}}}
    world.write("Secret", "s", stringData={"k": "one"})
    world.function("hello", source("word"), environment=environment)
    publish(world, "v1")
    world.resources.load()
    await until(lambda: "default/hello:1" in world.catalog.functions)
    before = world.catalog.functions["default/hello:1"]
    world.write("Secret", "s", stringData={"k": "two"})
    world.resources.load()
    await until(lambda: world.catalog.functions["default/hello:1"].revision != before.revision)
    after = world.catalog.functions["default/hello:1"]
    assert (after.code_sha256, after.environment) == (before.code_sha256, before.environment)
    assert world.statuses["Version", "v1"]["version"] == 1


async def test_an_alias_follows_what_is_published(world: World) -> None:
    world.function("hello", source("one"))
    point(world, "live", "1", {"2": 0.5})
    world.trigger("web", "hello", "/web")
    world.resources.load()
    await world.reason("Alias", "live", "VersionNotFound")
    publish(world, "v1")
    world.resources.load()
    await world.reason("Version", "v1", "Published")
    assert "names version 2" in await world.reason("Alias", "live", "VersionNotFound")
    world.function("hello", source("two"))
    publish(world, "v2")
    world.resources.load()
    await world.reason("Alias", "live", "Resolved")
    route = AliasRoute("default/hello:1", "default/hello:2", 0.5)
    await until(lambda: world.catalog.aliases == {"default/hello:live": route})
    (world.folder / "Version-v2.yaml").unlink()
    world.resources.load()
    await world.reason("Alias", "live", "VersionNotFound")
    await until(lambda: "default/hello:2" not in world.catalog.functions)


async def test_a_trigger_waits_for_its_qualifier(world: World) -> None:
    world.function("hello", source("one"))
    spec = {"function": {"name": "hello", "qualifier": "live"}, "http": {"path": "/web"}}
    world.write("Trigger", "web", spec=spec)
    world.resources.load()
    assert "there are: none" in await world.reason("Trigger", "web", "QualifierNotFound")
    publish(world, "v1")
    point(world, "live", "1")
    world.resources.load()
    await world.reason("Trigger", "web", "Resolved")
    (world.folder / "Alias-live.yaml").unlink()
    world.resources.load()
    assert "there are: 1" in await world.reason("Trigger", "web", "QualifierNotFound")
