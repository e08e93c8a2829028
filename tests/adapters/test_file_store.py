"""The store of local mode: a folder of its own, beside the user's files, which it never touches."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.store_contract import alias, check_life_of_a_resource, check_pages

from funclet.adapters.file_store import FileStore
from funclet.adapters.files import FileResources
from funclet.errors import Conflict


class Folders:
    """The user's folder and the store's."""

    def __init__(self, root: Path) -> None:
        self.users, self.own = root / "users", root / "own"
        self.users.mkdir()
        self.own.mkdir()
        self.resources = FileResources([self.users, self.own])
        self.store = FileStore(self.resources, self.own)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def function(name: str) -> dict[str, Any]:
    spec = {"runtime": "python3.13", "handler": "index.handler", "code": {"inline": "x"}}
    return {
        "apiVersion": "funclet.dev/v1",
        "kind": "Function",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec,
    }


def version(name: str, of: str) -> dict[str, Any]:
    return {
        "apiVersion": "funclet.dev/v1",
        "kind": "Version",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"function": {"name": of}},
    }


async def test_the_life_of_a_resource(folders: Folders) -> None:
    await check_life_of_a_resource(folders.store, "shop")


async def test_pages(folders: Folders) -> None:
    await check_pages(folders.store, "shop")


async def test_what_the_user_has_in_a_file_is_changed_there(folders: Folders) -> None:
    file = folders.users / "live.yaml"
    file.write_text(json.dumps(alias("shop", "live")))
    found = await folders.store.find("Alias", "shop", "live")
    assert found is not None
    for work in (folders.store.replace(found), folders.store.delete("Alias", "shop", "live")):
        with pytest.raises(Conflict, match=f"Alias shop/live is in {file}: change it there") as refused:
            await work
        assert refused.value.reason == "ReadOnly"
    assert json.loads(file.read_text()) == alias("shop", "live")


async def test_a_function_takes_its_versions_and_aliases_with_it(folders: Folders) -> None:
    store = folders.store
    for resource in (function("f"), function("g"), version("f-1", "f"), version("g-1", "g"), alias("shop", "live")):
        await store.create(resource)
    (folders.users / "mine.yaml").write_text(json.dumps(version("f-mine", "f")))
    folders.resources.load()
    await store.delete("Function", "shop", "f")
    left = [
        item["metadata"]["name"]
        for kind in ("Function", "Version", "Alias")
        for item in (await store.page(kind, "shop")).items
    ]
    assert left == ["g", "f-mine", "g-1"]


async def test_namespaces_are_apart(folders: Folders) -> None:
    await folders.store.create(alias("shop", "live"))
    await folders.store.create(alias("other", "live"))
    await folders.store.delete("Alias", "other", "live")
    assert await folders.store.find("Alias", "shop", "live") is not None
