"""The protocol Store over a Kubernetes API server."""

import json
from typing import Any, Self

from funclet.adapters.kube import object_path, request
from funclet.adapters.kube_access import Access, cluster_access
from funclet.adapters.resources import Page
from funclet.errors import Conflict

_JSON = {"Content-Type": "application/json"}
_MANAGER = {"fieldManager": "funclet-lambda-api"}


class KubeStore:
    """Makes, changes and deletes resources of ours."""

    def __init__(self, access: Access) -> None:
        self._client = access.client()

    @classmethod
    def in_cluster(cls) -> Self:
        """With the service account of this pod."""
        return cls(cluster_access())

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def find(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """Asked of the API server, which reads its store."""
        try:
            return await self._ask("GET", f"{object_path(kind, namespace)}/{name}")
        except Conflict as error:
            if error.reason == "NotFound":
                return None
            raise

    async def page(self, kind: str, namespace: str, limit: int = 0, marker: str | None = None) -> Page:
        """Kubernetes' own pages, which show the objects as they were when the first one was asked for."""
        params = {**({"limit": str(limit)} if limit else {}), **({"continue": marker} if marker else {})}
        answer = await self._ask("GET", object_path(kind, namespace), params=params)
        return Page([{"kind": kind, **item} for item in answer["items"]], answer["metadata"].get("continue") or None)

    async def create(self, resource: dict[str, Any]) -> dict[str, Any]:
        """POST."""
        path = object_path(resource["kind"], resource["metadata"]["namespace"])
        return await self._ask("POST", path, params=_MANAGER, content=json.dumps(resource), headers=_JSON)

    async def replace(self, resource: dict[str, Any]) -> dict[str, Any]:
        """PUT; the API server compares the resource versions."""
        metadata = resource["metadata"]
        path = f"{object_path(resource['kind'], metadata['namespace'])}/{metadata['name']}"
        return await self._ask("PUT", path, params=_MANAGER, content=json.dumps(resource), headers=_JSON)

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """DELETE; what it owns goes after it."""
        await self._ask("DELETE", f"{object_path(kind, namespace)}/{name}")

    async def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = (await request(self._client, method, path, **options)).json()
        return answer
