"""KubeResources against a real API server: list, watch, status by owner, Secrets and ConfigMaps."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from funclet.adapters.kube import KubeResources
from funclet.adapters.kube_access import Access
from funclet.adapters.resources import DELETED, SYNCED, UPSERTED, ResourceEvent
from funclet.errors import Conflict

FUNCTION = {
    "apiVersion": "funclet.dev/v1",
    "kind": "Function",
    "metadata": {"name": "hello"},
    "spec": {"runtime": "python3.13", "handler": "index.h", "code": {"inline": "x"}},
}


@pytest.fixture
async def resources(access: Access, namespace: str) -> AsyncIterator[KubeResources]:
    found = KubeResources(access, namespace)
    yield found
    await found.close()


def functions(namespace: str) -> str:
    return f"/apis/funclet.dev/v1/namespaces/{namespace}/functions"


async def create(api: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = await api.post(path, json=body)
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


async def take(events: AsyncIterator[ResourceEvent]) -> ResourceEvent:
    async with asyncio.timeout(60):
        return await anext(events)


async def test_a_watch_tells_what_exists_then_what_changes(
    api: httpx.AsyncClient, namespace: str, resources: KubeResources
) -> None:
    created = await create(api, functions(namespace), FUNCTION)
    async with aclosing(resources.watch("Function")) as events:  # type: ignore[type-var]
        first = await take(events)
        assert (first.type, first.key) == (UPSERTED, f"{namespace}/hello")
        assert (await take(events)).type is SYNCED
        await resources.patch_status("Function", namespace, "hello", {"observedGeneration": 41})
        while (await take(events)).object["status"].get("observedGeneration") != 41:
            pass  # control, if it runs on this cluster, writes too
        await api.delete(f"{functions(namespace)}/hello")
        while (gone := await take(events)).type is not DELETED:
            pass
        assert gone.object["metadata"]["uid"] == created["metadata"]["uid"]


async def test_what_is_held_stays_after_its_deletion_until_it_is_let_go(
    api: httpx.AsyncClient, namespace: str, resources: KubeResources
) -> None:
    path = f"{functions(namespace)}/hello"  # of Functions control, if it runs on this cluster, holds none
    uid = (await create(api, functions(namespace), FUNCTION))["metadata"]["uid"]
    await resources.hold("Function", namespace, "hello", uid, held=True)
    await api.delete(path)
    assert (await api.get(path)).json()["metadata"]["deletionTimestamp"]
    await resources.hold("Function", namespace, "hello", uid, held=False)
    assert (await api.get(path)).status_code == 404
    with pytest.raises(Conflict):
        await resources.hold("Function", namespace, "hello", uid, held=True)
    assert (await api.get(path)).status_code == 404


async def test_each_owner_of_a_status_replaces_its_own_fields_alone(
    api: httpx.AsyncClient, namespace: str, resources: KubeResources
) -> None:
    await create(
        api, functions(namespace), {**FUNCTION, "metadata": {"name": "hello", "finalizers": ["test.org/hold"]}}
    )
    await api.delete(f"{functions(namespace)}/hello")  # so that control, if it runs on this cluster, keeps away
    active = {"revision": "r", "generation": 1, "codeSha256": "c", "codeSize": 1, "spec": {"a": {"x": 1, "y": 2}}}
    await resources.patch_status("Function", namespace, "hello", {"active": active})
    await resources.patch_status("Function", namespace, "hello", {"instances": 3}, owner="control-instances")
    await resources.patch_status("Function", namespace, "hello", {"active": {**active, "spec": {"a": {"x": 1}}}})
    status = (await api.get(f"{functions(namespace)}/hello")).json()["status"]
    release = {"Content-Type": "application/merge-patch+json"}
    await api.patch(f"{functions(namespace)}/hello", content='{"metadata": {"finalizers": null}}', headers=release)
    assert status["active"]["spec"] == {"a": {"x": 1}}
    assert status["instances"] == 3


async def test_the_status_of_what_is_gone_is_a_conflict(namespace: str, resources: KubeResources) -> None:
    with pytest.raises(Conflict) as conflict:
        await resources.patch_status("Function", namespace, "none", {"instances": 1})
    assert conflict.value.reason == "NotFound"


async def test_secrets_and_config_maps_are_decoded(
    api: httpx.AsyncClient, namespace: str, resources: KubeResources
) -> None:
    core, encoded = f"/api/v1/namespaces/{namespace}", base64.b64encode(b"\x00\xff").decode()
    secret = await create(api, f"{core}/secrets", {"metadata": {"name": "s"}, "data": {"k": encoded}})
    await create(
        api, f"{core}/configmaps", {"metadata": {"name": "c"}, "data": {"t": "x"}, "binaryData": {"b": encoded}}
    )
    found = await resources.find_secret(namespace, "s")
    assert found is not None
    assert (found.data, found.resource_version) == ({"k": b"\x00\xff"}, secret["metadata"]["resourceVersion"])
    config_map = await resources.find_config_map(namespace, "c")
    assert config_map is not None
    assert (config_map.data, config_map.binary_data) == ({"t": "x"}, {"b": b"\x00\xff"})
    assert await resources.find_secret(namespace, "none") is None
    assert await resources.find_config_map(namespace, "none") is None


async def test_secrets_are_watched_without_their_values(
    api: httpx.AsyncClient, namespace: str, resources: KubeResources
) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"
    await create(api, path, {"metadata": {"name": "before"}, "stringData": {"k": "value"}})
    async with aclosing(resources.watch("Secret")) as events:  # type: ignore[type-var]
        listed = await take(events)
        assert (await take(events)).type is SYNCED
        await create(api, path, {"metadata": {"name": "after"}, "stringData": {"k": "value"}})
        watched = await take(events)
    assert [listed.key, watched.key] == [f"{namespace}/before", f"{namespace}/after"]
    assert "data" not in {**listed.object, **watched.object}


async def test_a_label_selector_narrows_a_watch(
    api: httpx.AsyncClient, namespace: str, resources: KubeResources
) -> None:
    for name in ("a", "b"):
        await create(api, functions(namespace), {**FUNCTION, "metadata": {"name": name, "labels": {"name": name}}})
    async with aclosing(resources.watch("Function", label_selector="name=b")) as events:  # type: ignore[type-var]
        assert [(await take(events)).key, (await take(events)).type] == [f"{namespace}/b", SYNCED]
