"""The store of a cluster, on a real API server."""

from collections.abc import AsyncIterator

import pytest
from tests.store_contract import alias, check_life_of_a_resource, check_pages, refused

from funclet.adapters.kube_access import Access
from funclet.adapters.kube_store import KubeStore
from funclet.errors import InvalidSpec


@pytest.fixture
async def store(access: Access) -> AsyncIterator[KubeStore]:
    made = KubeStore(access)
    yield made
    await made.close()


async def test_the_life_of_a_resource(store: KubeStore, namespace: str) -> None:
    await check_life_of_a_resource(store, namespace)


async def test_pages(store: KubeStore, namespace: str) -> None:
    await check_pages(store, namespace)


async def test_what_the_api_server_refuses_is_the_authors(store: KubeStore, namespace: str) -> None:
    wrong = alias(namespace, "live")
    with pytest.raises(InvalidSpec, match="functionVersion"):
        await store.create({**wrong, "spec": {**wrong["spec"], "functionVersion": "first"}})
    with pytest.raises(InvalidSpec, match="continue"):
        await store.page("Alias", namespace, 1, "no marker")


async def test_a_namespace_that_is_not_there_is_said(store: KubeStore) -> None:
    assert await refused(store.create(alias("nobody-has-this-one", "live"))) == "NotFound"
