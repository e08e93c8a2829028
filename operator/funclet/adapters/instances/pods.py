"""Instances as pods: five calls of the Kubernetes API, and the watch that every role uses."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from funclet.adapters.instances.backend import (
    NAMESPACE_TERMINATING,
    InstanceEvent,
    Observed,
    Phase,
    ResizeResult,
    Synced,
    Vanished,
)
from funclet.adapters.kube import KubeResources
from funclet.adapters.kube_access import Access
from funclet.adapters.resources import DELETED, SYNCED
from funclet.core.instances import MANAGED_BY, MANAGED_BY_LABEL, InstanceRequest
from funclet.core.pods import (
    AGENT_PORT,
    PodDefaults,
    build_pod,
    build_resize,
    find_obstacle,
    find_resize_refusal,
    granted_memory_mib,
    is_over,
    limit_mib_of,
    memory_mib_of,
)
from funclet.errors import InvalidSpec, Unavailable

MERGE_PATCH = {"content-type": "application/merge-patch+json"}
STRATEGIC_MERGE_PATCH = {"content-type": "application/strategic-merge-patch+json"}


class PodBackend:
    """One pod an instance. `images` maps runtimes to images; `namespace` None watches all namespaces."""

    def __init__(
        self, access: Access, images: Mapping[str, str], defaults: PodDefaults, namespace: str | None = None
    ) -> None:
        self._client = access.client()
        self._resources = KubeResources(access, namespace)
        self._images = images
        self._defaults = defaults

    async def create(self, request: InstanceRequest) -> None:
        """POST the pod."""
        image = self._images.get(request.runtime)
        if image is None:
            raise InvalidSpec(f"the installation has no image for {request.runtime}", reason="NoRuntimeImage")
        pod = build_pod(request, image, self._defaults)
        await self._call("POST", _path(request.namespace), json=pod, accepted=(409,))

    async def delete(self, namespace: str, name: str, grace_seconds: int) -> None:
        """DELETE the pod."""
        body = {"gracePeriodSeconds": grace_seconds}
        await self._call("DELETE", _path(namespace, name), json=body, accepted=(404, 409))

    async def label(self, namespace: str, name: str, labels: dict[str, str], annotations: dict[str, str]) -> None:
        """PATCH the pod's metadata."""
        body = json.dumps({"metadata": {"labels": labels, "annotations": annotations}})
        await self._call("PATCH", _path(namespace, name), content=body, headers=MERGE_PATCH, accepted=(404,))

    async def resize(self, namespace: str, name: str, memory_mib: int, limit_mib: int) -> ResizeResult:
        """PATCH the pod's subresource `resize`; the kubelet does it in its own time."""
        answer = await self._call(
            "PATCH",
            _path(namespace, name) + "/resize",
            content=json.dumps(build_resize(memory_mib, self._defaults.cpu_request_percent, limit_mib)),
            headers=STRATEGIC_MERGE_PATCH,
            accepted=(400, 403, 404, 422),
        )
        return ResizeResult.REFUSED if answer.status_code in (400, 403, 422) else ResizeResult.ACCEPTED

    async def watch(self) -> AsyncIterator[InstanceEvent]:
        """List and watch, by label."""
        async for event in self._resources.watch("Pod", label_selector=f"{MANAGED_BY_LABEL}={MANAGED_BY}"):
            if event.type is SYNCED:
                yield Synced()
            elif event.type is DELETED:
                yield Vanished(event.object["metadata"]["namespace"], event.object["metadata"]["name"])
            else:
                yield read_pod(event.object)

    async def close(self) -> None:
        """Close the connections; the pods stay."""
        await self._client.aclose()
        await self._resources.close()

    async def _call(self, method: str, path: str, *, accepted: tuple[int, ...] = (), **options: Any) -> httpx.Response:
        try:
            answer = await self._client.request(method, path, **options)
        except (httpx.HTTPError, OSError) as error:
            raise Unavailable(f"{method} {path}: {error!r}", reason="ApiUnreachable") from error
        if answer.is_success or answer.status_code in accepted:
            return answer
        message = f"{method} {path}: {answer.status_code} {_message(answer)}"
        if answer.status_code in (400, 422):
            raise InvalidSpec(message, reason="RefusedByApi")
        raise Unavailable(message, reason=_reason(answer))


def read_pod(pod: dict[str, Any]) -> Observed:
    """What the scaler needs of a pod."""
    metadata, status = pod["metadata"], pod.get("status", {})
    return Observed(
        namespace=metadata["namespace"],
        name=metadata["name"],
        phase=_phase(pod),
        host=status.get("podIP"),
        agent_port=AGENT_PORT,
        memory_mib=memory_mib_of(pod),
        limit_mib=limit_mib_of(pod),
        labels=metadata.get("labels", {}),
        annotations=metadata.get("annotations", {}),
        granted_memory_mib=granted_memory_mib(pod),
        resize_refusal=find_resize_refusal(pod),
        obstacle=find_obstacle(pod),
    )


def _phase(pod: dict[str, Any]) -> Phase:
    if pod["metadata"].get("deletionTimestamp"):
        return Phase.TERMINATING
    if is_over(pod):
        return Phase.DEAD
    return Phase.RUNNING if pod.get("status", {}).get("phase") == "Running" else Phase.PENDING


def _path(namespace: str, name: str | None = None) -> str:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    return f"{pods}/{name}" if name else pods


def _reason(answer: httpx.Response) -> str:
    if answer.status_code not in (401, 403):
        return "ApiUnavailable"
    try:
        causes = [cause.get("reason") for cause in answer.json()["details"]["causes"]]
    except (ValueError, KeyError, TypeError):
        causes = []
    return NAMESPACE_TERMINATING if NAMESPACE_TERMINATING in causes else "Forbidden"


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("message", answer.text))
    except ValueError:
        return answer.text
