"""PodBackend against a real API server: what it refuses, and in what words."""

import httpx
import pytest

from funclet.adapters.instances.backend import NAMESPACE_TERMINATING
from funclet.adapters.instances.pods import PodBackend
from funclet.adapters.kube_access import Access
from funclet.api.pod import PodSettings
from funclet.core.instances import InstanceRequest
from funclet.core.pods import PodDefaults
from funclet.errors import Unavailable

FINALIZER = "funclet.dev/test"


def request(namespace: str) -> InstanceRequest:
    return InstanceRequest(
        name="python313-0000000000", namespace=namespace, runtime="python3.13", memory_mib=128, limit_mib=128,
        ephemeral_storage_mib=512, timeout_seconds=3, specialise_token_sha256="0" * 64, invoke_token_sha256="0" * 64,
        labels={}, annotations={}, pod=PodSettings(), image=None,
    )  # fmt: skip


async def test_a_pod_in_a_namespace_that_is_being_deleted(
    access: Access, api: httpx.AsyncClient, namespace: str
) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    held = await api.post(maps, json={"metadata": {"name": "held", "finalizers": [FINALIZER]}})
    assert held.status_code == 201, held.text
    assert (await api.delete(f"/api/v1/namespaces/{namespace}")).is_success
    backend = PodBackend(access, {"python3.13": "funclet/none"}, PodDefaults())
    try:
        with pytest.raises(Unavailable) as refused:
            await backend.create(request(namespace))
        assert refused.value.reason == NAMESPACE_TERMINATING
    finally:
        await backend.close()
        patch = httpx.Headers({"content-type": "application/merge-patch+json"})
        await api.patch(f"{maps}/held", json={"metadata": {"finalizers": None}}, headers=patch)
