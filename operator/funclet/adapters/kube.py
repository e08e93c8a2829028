"""Resources of a Kubernetes API server, by httpx alone: list and watch, status, Secrets, ConfigMaps.

The `kubernetes` package costs 35 MiB and 0.4 s at import; gateway and events read through this instead.
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from typing import Any, Self

import httpx

from funclet.adapters.kube_access import Access, cluster_access
from funclet.adapters.resources import (
    DELETED,
    FINALIZER,
    SYNCED,
    UPSERTED,
    ConfigMapData,
    Owner,
    ResourceEvent,
    SecretData,
    object_key,
    split_key,
)
from funclet.api.meta import API_VERSION
from funclet.errors import Conflict, FuncletError, InvalidSpec, Unavailable

logger = logging.getLogger(__name__)

PLURALS = {
    "Function": (f"apis/{API_VERSION}", "functions"),
    "Version": (f"apis/{API_VERSION}", "versions"),
    "Alias": (f"apis/{API_VERSION}", "aliases"),
    "Trigger": (f"apis/{API_VERSION}", "triggers"),
    "Pod": ("api/v1", "pods"),
    "Secret": ("api/v1", "secrets"),
    "ConfigMap": ("api/v1", "configmaps"),
}

METADATA_ONLY = {"Secret", "ConfigMap"}
"""Kinds that are watched for the fact of a change; their values never come to this process unasked."""

METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
METADATA_ONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

PAGE_SIZE = 500

WATCH_SECONDS = 120
"""How long the server keeps one watch open. A connection that died in silence is noticed 15 s after that."""

FIRST_DELAY_SECONDS, LAST_DELAY_SECONDS = 0.1, 10.0
"""Between attempts to list or watch: doubled with each failure."""


class KubeResources:
    """The protocol Resources over a Kubernetes API server, for one namespace or for all of them."""

    def __init__(self, access: Access, namespace: str | None = None) -> None:
        self._client = access.client()
        self._namespace = namespace or None

    @classmethod
    def in_cluster(cls, namespace: str | None = None) -> Self:
        """With the service account of this pod."""
        return cls(cluster_access(), namespace)

    async def close(self) -> None:
        """Close all connections; watches end with an error of theirs."""
        await self._client.aclose()

    async def watch(self, kind: str, *, label_selector: str = "") -> AsyncIterator[ResourceEvent]:
        """Follow all objects of a kind, for ever."""
        feed = _Feed(self._client, kind, self._namespace, label_selector)
        delay = FIRST_DELAY_SECONDS
        while True:
            try:
                async for event in feed.next_events():
                    delay = FIRST_DELAY_SECONDS
                    yield event
            except FuncletError as error:
                logger.warning(
                    "watch interrupted", extra={"kind": kind, "reason": error.reason, "error": error.message}
                )
                await asyncio.sleep(delay)
                delay = min(delay * 2, LAST_DELAY_SECONDS)

    async def patch_status(
        self, kind: str, namespace: str, name: str, status: dict[str, Any], *, owner: str = "control"
    ) -> None:
        """Server-side apply on the status: what this owner set before and does not set now goes away."""
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "status": status,
        }
        await self._apply(f"{object_path(kind, namespace)}/{name}/status", owner, body)

    async def find_generation(self, kind: str, namespace: str, name: str) -> int | None:
        """Asked of the API server, which reads its store."""
        found = await self._find(kind, namespace, name)
        return found and int(found["metadata"]["generation"])

    async def set_owner(self, kind: str, namespace: str, name: str, uid: str, owner: Owner) -> None:
        """Server-side apply of one owner reference; with the uid it makes no object anew that is gone."""
        reference = {"apiVersion": API_VERSION, "kind": owner.kind, "name": owner.name, "uid": owner.uid}
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "uid": uid, "ownerReferences": [reference]},
        }
        await self._apply(f"{object_path(kind, namespace)}/{name}", "control-owner", body)

    async def hold(self, kind: str, namespace: str, name: str, uid: str, *, held: bool) -> None:
        """Server-side apply of the one finalizer, or of none."""
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "uid": uid, "finalizers": [FINALIZER] if held else []},
        }
        await self._apply(f"{object_path(kind, namespace)}/{name}", "control-hold", body)

    async def _apply(self, path: str, owner: str, body: dict[str, Any]) -> None:
        await request(
            self._client,
            "PATCH",
            path,
            params={"fieldManager": f"funclet-{owner}", "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
            content=json.dumps(body),
        )

    async def find_secret(self, namespace: str, name: str) -> SecretData | None:
        """The Secret, decoded."""
        found = await self._find("Secret", namespace, name)
        return found and SecretData(_decoded(found.get("data")), found["metadata"]["resourceVersion"])

    async def find_config_map(self, namespace: str, name: str) -> ConfigMapData | None:
        """The ConfigMap, decoded."""
        found = await self._find("ConfigMap", namespace, name)
        return found and ConfigMapData(
            found.get("data") or {}, _decoded(found.get("binaryData")), found["metadata"]["resourceVersion"]
        )

    async def _find(self, kind: str, namespace: str, name: str) -> Any:
        try:
            response = await request(self._client, "GET", f"{object_path(kind, namespace)}/{name}")
        except Conflict as error:
            if error.reason == "NotFound":
                return None
            raise
        return response.json()


class _Feed:
    """One watch: lists, follows from the list's resource version, and lists again when that is too old.

    Of each object it keeps the uid alone, so that a new listing can tell what vanished in between.
    """

    def __init__(self, client: httpx.AsyncClient, kind: str, namespace: str | None, label_selector: str) -> None:
        self._client = client
        self._kind = kind
        self._path = object_path(kind, namespace)
        self._selector = {"labelSelector": label_selector} if label_selector else {}
        self._known: dict[str, str] = {}
        self._version = ""
        self._synced = False

    async def next_events(self) -> AsyncIterator[ResourceEvent]:
        """One listing when it is needed, then one watch until the server ends it."""
        if not self._version:
            async for event in self._list():
                yield event
            if not self._synced:
                self._synced = True
                yield ResourceEvent(SYNCED)
        async for event in self._watch():
            yield event

    async def _list(self) -> AsyncIterator[ResourceEvent]:
        seen: set[str] = set()
        token = ""
        while True:
            page = await self._page(token)
            for item in page["items"]:
                seen.add(object_key(item))
                for event in self._upsert(item):
                    yield event
            token = page["metadata"].get("continue", "")
            if not token:
                break
        for key in self._known.keys() - seen:
            yield _deletion(key, self._known.pop(key))
        self._version = page["metadata"]["resourceVersion"]

    def _upsert(self, item: dict[str, Any]) -> list[ResourceEvent]:
        """An object that was deleted and made anew unseen is both: a deletion and another object."""
        key, uid = object_key(item), item["metadata"]["uid"]
        events = [_deletion(key, self._known[key])] if self._known.get(key, uid) != uid else []
        self._known[key] = uid
        return [*events, ResourceEvent(UPSERTED, item)]

    async def _page(self, token: str) -> dict[str, Any]:
        params = {"limit": str(PAGE_SIZE), **self._selector, **({"continue": token} if token else {})}
        accept = METADATA_LIST if self._kind in METADATA_ONLY else "application/json"
        response = await request(self._client, "GET", self._path, params=params, headers={"Accept": accept})
        page: dict[str, Any] = response.json()
        return page

    async def _watch(self) -> AsyncIterator[ResourceEvent]:
        async for line in self._lines():
            message = json.loads(line)
            match message["type"]:
                case "ADDED" | "MODIFIED":
                    self._version = message["object"]["metadata"]["resourceVersion"]
                    for event in self._upsert(message["object"]):
                        yield event
                case "DELETED":
                    self._version = message["object"]["metadata"]["resourceVersion"]
                    key = object_key(message["object"])
                    self._known.pop(key, None)
                    yield _deletion(key, message["object"]["metadata"]["uid"])
                case "BOOKMARK":
                    self._version = message["object"]["metadata"]["resourceVersion"]
                case _:
                    self._version = ""
                    raise Unavailable(message["object"].get("message", "watch failed"), reason="WatchExpired")

    async def _lines(self) -> AsyncIterator[str]:
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
            "resourceVersion": self._version,
            **self._selector,
        }
        accept = METADATA_ONE if self._kind in METADATA_ONLY else "application/json"
        timeout = httpx.Timeout(30, connect=5, read=WATCH_SECONDS + 15)
        try:
            async with self._client.stream(
                "GET", self._path, params=params, headers={"Accept": accept}, timeout=timeout
            ) as response:
                if response.is_error:
                    self._version = ""
                    await response.aread()
                    raise _translated(response)
                async for line in response.aiter_lines():
                    yield line
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._path}: {error!r}", reason="ApiUnreachable") from error


def object_path(kind: str, namespace: str | None) -> str:
    """Where the objects of a kind are."""
    group, plural = PLURALS[kind]
    return f"/{group}/namespaces/{namespace}/{plural}" if namespace else f"/{group}/{plural}"


def _deletion(key: str, uid: str) -> ResourceEvent:
    namespace, name = split_key(key)
    return ResourceEvent(DELETED, {"metadata": {"namespace": namespace, "name": name, "uid": uid}})


def _decoded(values: dict[str, str] | None) -> dict[str, bytes]:
    return {name: base64.b64decode(value) for name, value in (values or {}).items()}


async def request(client: httpx.AsyncClient, method: str, path: str, **options: Any) -> httpx.Response:
    """Ask the API server; whatever goes wrong is an error of ours."""
    try:
        response = await client.request(method, path, **options)
    except (httpx.HTTPError, OSError) as error:
        raise Unavailable(f"{path}: {error!r}", reason="ApiUnreachable") from error
    if response.is_error:
        raise _translated(response)
    return response


def _translated(response: httpx.Response) -> FuncletError:
    """The API server's Status object as an error of ours."""
    try:
        status = response.json()
    except ValueError:
        status = {}
    message = status.get("message", response.text)
    match response.status_code:
        case 404:
            return Conflict(message, reason="NotFound")
        case 409:
            return Conflict(message, reason=status.get("reason"))
        case 410:
            return Conflict(message, reason="Expired")
        case 400 | 422:
            return InvalidSpec(message, reason="RefusedByApi")
        case 401 | 403:
            return Unavailable(message, reason="Forbidden")
        case _:
            return Unavailable(message, reason="ApiUnavailable")
