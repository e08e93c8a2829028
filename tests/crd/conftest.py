"""A real API server with the CRDs of this checkout."""

import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from funclet.adapters.kube_access import Access, kubeconfig_access

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The cluster's kubeconfig: $KUBECONFIG, or the one that `make cluster-up` writes."""
    return Path(os.environ.get("KUBECONFIG") or ROOT / "build" / "kubeconfig")


def kubectl(kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = f"{ROOT / 'build' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(kubeconfig)}
    return subprocess.run(["kubectl", *arguments], env=environment, capture_output=True, text=True)


@pytest.fixture(scope="session")
def crds(kubeconfig: Path) -> Iterator[None]:
    """The CRDs, up to date. They go again when it was the tests that brought them."""
    existed = kubectl(kubeconfig, "get", "crd", "functions.funclet.dev").returncode == 0
    applied = kubectl(
        kubeconfig, "apply", "--server-side", "--force-conflicts", "--field-manager=crd-tests", "-f", str(ROOT / "crds")
    )
    assert applied.returncode == 0, applied.stderr
    established = kubectl(kubeconfig, "wait", "--for=condition=Established", "--timeout=120s", "-f", str(ROOT / "crds"))
    assert established.returncode == 0, established.stderr
    yield
    if not existed:
        kubectl(kubeconfig, "delete", "-f", str(ROOT / "crds"))


@pytest.fixture(scope="session")
def access(kubeconfig: Path, crds: None) -> Access:
    """How to reach the API server, by Funclet's own adapter."""
    return kubeconfig_access(kubeconfig)


@pytest.fixture
async def api(access: Access) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API server."""
    async with access.client() as client:
        yield client


@pytest.fixture
async def namespace(api: httpx.AsyncClient) -> AsyncIterator[str]:
    """A namespace of the test's own."""
    name = f"funclet-test-{uuid.uuid4().hex[:8]}"
    created = await api.post("/api/v1/namespaces", json={"metadata": {"name": name}})
    assert created.status_code == 201, created.text
    yield name
    await api.delete(f"/api/v1/namespaces/{name}")
