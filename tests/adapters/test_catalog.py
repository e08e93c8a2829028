"""The catalog over files: last good state, and no callback without a change."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from funclet.adapters.catalog import Catalog
from funclet.adapters.files import FileResources
from funclet.core.qualifiers import AliasRoute

FUNCTION = """
kind: Function
apiVersion: funclet.dev/v1
metadata: {name: hello}
spec: {runtime: python3.13, handler: index.h, code: {inline: x}}
"""
TRIGGER = """
kind: Trigger
apiVersion: funclet.dev/v1
metadata: {name: web}
spec: {function: {name: hello}, http: {path: /a}}
"""


def status(generation: int, memory: int) -> dict[str, Any]:
    spec = {"runtime": "python3.13", "handler": "index.h", "memorySize": memory}
    active = {"revision": f"r{memory}", "generation": generation, "codeSha256": "c", "codeSize": 1, "spec": spec}
    return {"active": active}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def resources(tmp_path: Path) -> FileResources:
    (tmp_path / "all.yaml").write_text(f"{FUNCTION}---{TRIGGER}")
    return FileResources([tmp_path])


@pytest.fixture
async def catalog(resources: FileResources) -> AsyncIterator[Catalog]:
    catalog = Catalog(resources)
    task = asyncio.create_task(catalog.run())
    await catalog.synced()
    yield catalog
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_function_is_there_once_it_was_resolved(catalog: Catalog, resources: FileResources) -> None:
    calls: list[int | None] = []
    catalog.on_function(lambda _, revision: calls.append(revision.memory_mib if revision else None))
    assert catalog.functions == {}
    assert catalog.pending == {"default/hello"}
    await resources.patch_status("Function", "default", "hello", status(1, 128))
    await resources.patch_status("Function", "default", "hello", {"instances": 3})
    await resources.patch_status("Function", "default", "hello", status(2, 256))
    await until(lambda: len(calls) == 2)
    assert calls == [128, 256]
    assert catalog.functions["default/hello"].revision == "r256"
    assert not catalog.pending


async def test_what_is_not_understood_leaves_the_last_good_state(catalog: Catalog, resources: FileResources) -> None:
    await resources.patch_status("Function", "default", "hello", status(1, 128))
    await resources.patch_status("Function", "default", "hello", status(2, 1))
    await resources.patch_status("Trigger", "default", "web", {"observedGeneration": 9})
    await until(lambda: catalog.triggers["default/web"].status.observed_generation == 9)
    assert catalog.functions["default/hello"].memory_mib == 128


async def test_a_function_that_was_never_resolved_is_pending_until_it_is_gone(catalog: Catalog, tmp_path: Path) -> None:
    assert catalog.pending == {"default/hello"}
    (tmp_path / "all.yaml").unlink()
    await until(lambda: not catalog.pending)


async def test_what_is_deleted_is_gone(catalog: Catalog, resources: FileResources, tmp_path: Path) -> None:
    gone: list[str] = []
    catalog.on_function(lambda key, revision: gone.append(key) if revision is None else None)
    catalog.on_trigger(lambda key, trigger: gone.append(key) if trigger is None else None)
    await resources.patch_status("Function", "default", "hello", status(1, 128))
    await until(lambda: "default/hello" in catalog.functions)
    (tmp_path / "all.yaml").unlink()
    await until(lambda: len(gone) == 2)
    assert not catalog.functions
    assert not catalog.triggers


VERSION = """
kind: Version
apiVersion: funclet.dev/v1
metadata: {name: first}
spec: {function: {name: hello}}
"""
ALIAS = """
kind: Alias
apiVersion: funclet.dev/v1
metadata: {name: live}
spec: {function: {name: hello}, name: live, functionVersion: "1"}
"""


async def test_a_published_version_is_a_function_with_a_key_of_its_own(
    catalog: Catalog, resources: FileResources, tmp_path: Path
) -> None:
    (tmp_path / "version.yaml").write_text(VERSION)
    resources.load()
    await resources.patch_status("Function", "default", "hello", status(1, 128))
    await until(lambda: "default/hello" in catalog.functions)
    uid = catalog.functions["default/hello"].uid
    snapshot = {"version": 1, "functionUid": uid, "snapshot": status(1, 128)["active"]}
    await resources.patch_status("Version", "default", "first", snapshot)
    await until(lambda: "default/hello:1" in catalog.functions)
    reserved = status(2, 256)
    reserved["active"]["spec"]["reservedConcurrentExecutions"] = 7
    await resources.patch_status("Function", "default", "hello", reserved)
    await until(lambda: catalog.functions["default/hello"].memory_mib == 256)
    version = catalog.functions["default/hello:1"]
    assert (version.memory_mib, version.reserved_concurrency) == (128, 7)
    (tmp_path / "alias.yaml").write_text(ALIAS.replace("live,", "live, provisionedConcurrentExecutions: 4,"))
    resources.load()
    await resources.patch_status("Alias", "default", "live", {"active": {"functionVersion": "1"}})
    await until(lambda: catalog.functions["default/hello:1"].provisioned_concurrency == 4)
    (tmp_path / "alias.yaml").unlink()
    resources.load()
    await until(lambda: catalog.functions["default/hello:1"].provisioned_concurrency == 0)
    gone: list[str] = []
    catalog.on_function(lambda key, revision: gone.append(key) if revision is None else None)
    (tmp_path / "all.yaml").unlink()
    await until(lambda: len(gone) == 2)
    assert gone == ["default/hello", "default/hello:1"]


async def test_an_alias_leads_elsewhere(catalog: Catalog, resources: FileResources, tmp_path: Path) -> None:
    told: list[str] = []
    catalog.on_alias(told.append)
    (tmp_path / "alias.yaml").write_text(ALIAS)
    resources.load()
    await resources.patch_status("Alias", "default", "live", {"active": {"functionVersion": "1"}})
    await until(lambda: len(told) == 1)
    assert catalog.aliases == {"default/hello:live": AliasRoute("default/hello:1")}
    weights = {"functionVersion": "1", "additionalVersion": "2", "additionalWeight": 0.25}
    await resources.patch_status("Alias", "default", "live", {"active": weights})
    await until(lambda: len(told) == 2)
    assert catalog.aliases == {"default/hello:live": AliasRoute("default/hello:1", "default/hello:2", 0.25)}
    await resources.patch_status("Alias", "default", "live", {"observedGeneration": 3})
    (tmp_path / "alias.yaml").write_text(ALIAS.replace("live,", "live, provisionedConcurrentExecutions: 4,"))
    resources.load()
    await until(lambda: len(told) == 3)
    assert catalog.aliases["default/hello:live"].provisions == {"default/hello:1": 3, "default/hello:2": 1}
    (tmp_path / "alias.yaml").unlink()
    await until(lambda: len(told) == 4)
    assert catalog.aliases == {}
    assert set(told) == {"default/hello:live"}
