"""Resources without files or a Kubernetes API, for tests of the roles that only read."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from funclet.adapters.resources import SYNCED, UPSERTED, ConfigMapData, EventType, Owner, ResourceEvent, SecretData


class MemoryResources:
    """Resources that the test itself applies and deletes."""

    def __init__(self) -> None:
        self._changes: dict[str, asyncio.Queue[ResourceEvent]] = {
            kind: asyncio.Queue() for kind in ("Function", "Version", "Alias", "Trigger")
        }

    def put(self, kind: str, resource: dict[str, Any], event: EventType = UPSERTED) -> None:
        self._changes[kind].put_nowait(ResourceEvent(event, resource))

    async def watch(self, kind: str, *, label_selector: str = "") -> AsyncIterator[ResourceEvent]:
        assert not label_selector
        yield ResourceEvent(SYNCED)
        while True:
            yield await self._changes[kind].get()

    async def patch_status(
        self, kind: str, namespace: str, name: str, status: dict[str, Any], *, owner: str = "control"
    ) -> None:
        raise AssertionError("events writes no status")

    async def find_generation(self, kind: str, namespace: str, name: str) -> int | None:
        raise AssertionError("events publishes nothing")

    async def set_owner(self, kind: str, namespace: str, name: str, uid: str, owner: Owner) -> None:
        raise AssertionError("events publishes nothing")

    async def hold(self, kind: str, namespace: str, name: str, uid: str, *, held: bool) -> None:
        raise AssertionError("events publishes nothing")

    async def find_secret(self, namespace: str, name: str) -> SecretData | None:
        raise AssertionError("events reads no secret")

    async def find_config_map(self, namespace: str, name: str) -> ConfigMapData | None:
        raise AssertionError("events reads no ConfigMap")
