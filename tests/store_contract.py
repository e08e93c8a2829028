"""What every Store does; each implementation has its own test that runs this."""

from typing import Any

import pytest

from funclet.adapters.resources import Store
from funclet.errors import Conflict


def alias(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "funclet.dev/v1",
        "kind": "Alias",
        "metadata": {"name": name, "namespace": namespace, "annotations": {"team": "shop"}},
        "spec": {"function": {"name": "f"}, "name": name, "functionVersion": "1"},
    }


async def refused(work: Any) -> str:
    with pytest.raises(Conflict) as caught:
        await work
    return caught.value.reason


async def check_life_of_a_resource(store: Store, namespace: str) -> None:
    """Made once, found, replaced by whoever read it last, deleted."""
    assert await store.find("Alias", namespace, "live") is None
    made = await store.create(alias(namespace, "live"))
    assert made["metadata"]["annotations"] == {"team": "shop"}
    assert await refused(store.create(alias(namespace, "live"))) == "AlreadyExists"

    found, changed = await _change(store, namespace)
    assert changed["metadata"]["generation"] == found["metadata"]["generation"] + 1
    assert await refused(store.replace(found)) == "Conflict"
    again = await store.find("Alias", namespace, "live")
    assert again is not None
    assert again["spec"]["functionVersion"] == "2"

    await store.delete("Alias", namespace, "live")
    assert await store.find("Alias", namespace, "live") is None
    assert await refused(store.delete("Alias", namespace, "live")) == "NotFound"
    assert await refused(store.replace(again)) == "NotFound"


async def _change(store: Store, namespace: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The resource before and after; a control that works there may write its status in between, again and again."""
    while True:
        found = await store.find("Alias", namespace, "live")
        assert found is not None
        try:
            return found, await store.replace({**found, "spec": {**found["spec"], "functionVersion": "2"}})
        except Conflict as error:
            if error.reason != "Conflict":
                raise


async def check_pages(store: Store, namespace: str) -> None:
    """All objects of a namespace, some at a time."""
    for name in ("a", "b", "c"):
        await store.create(alias(namespace, name))
    first = await store.page("Alias", namespace, 2)
    second = await store.page("Alias", namespace, 2, first.marker)
    assert [item["metadata"]["name"] for page in (first, second) for item in page.items] == ["a", "b", "c"]
    assert second.marker is None
    assert len((await store.page("Alias", namespace)).items) == 3
    assert all(item["kind"] == "Alias" for item in first.items)
