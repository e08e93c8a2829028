"""The cluster on which the figures of cold starts and of idle functions are measured: the one of build/kubeconfig.

Everything is asked from outside, as a user would: the Kubernetes API, the gateway's address, the roles' metrics.
"""

import asyncio
import contextlib
import os
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import uvloop
from tests.e2e.worlds import RELEASE_NAMESPACE, ROOT, ClusterWorld

from benchmarks.figure import Unmeasured
from funclet.adapters.kube_access import Access, kubeconfig_access

KUBECONFIG = ROOT / "build" / "kubeconfig"
HANDLER = "def handler(event, context):\n    return {'statusCode': 200, 'body': 'Hello, ' + event['name']}\n"
PAYLOAD = b'{"name": "World"}'
WRITERS_AT_ONCE = 32
READY_SECONDS = 180
SETTLED_SECONDS = 0.75
"""A pool in which nothing has changed for so long is not about to be refilled: that begins when nobody has taken an
instance for a quarter of a second, at the scaler's next look at the clock a quarter later at most."""
POOL_SIZE = "FUNCLET_WARM_POOL_SIZE"
SCALER = ("-n", RELEASE_NAMESPACE, "deployment/funclet-scaler")


class Cluster(ClusterWorld):
    """A namespace of the benchmark's own in the cluster where Funclet is installed."""

    def __init__(self) -> None:
        os.environ.setdefault("KUBECONFIG", str(KUBECONFIG))
        super().__init__()
        self.access: Access = kubeconfig_access(os.environ["KUBECONFIG"])
        self.api = httpx.Client(
            base_url=self.access.url, verify=self.access.verify, headers=self.access.headers, timeout=30
        )

    @property
    def host(self) -> str:
        """The gateway's address."""
        return str(urlsplit(self.url).hostname)

    @property
    def port(self) -> int:
        """The gateway's port."""
        return urlsplit(self.url).port or 80

    def request(self, function: str) -> bytes:
        """An Invoke of the Lambda API, as bytes."""
        return (
            f"POST /namespaces/{self.namespace}/2015-03-31/functions/{function}/invocations HTTP/1.1\r\n"
            f"host: {self.host}\r\ncontent-length: {len(PAYLOAD)}\r\n\r\n"
        ).encode() + PAYLOAD

    def create_functions(self, count: int, source: str = HANDLER, *, prefix: str = "f", **spec: Any) -> list[str]:
        """Creates functions with this code; returns their names when callers get them."""
        names = [f"{prefix}-{number:05}" for number in range(count)]
        bodies = [self._function(name, source, spec) for name in names]
        uvloop.run(self._create_all("functions", bodies))
        self.wait_functions(count, prefix)
        return names

    def _function(self, name: str, source: str, spec: dict[str, Any]) -> dict[str, Any]:
        body = {"runtime": "python3.13", "handler": "index.handler", "code": {"inline": source}, **spec}
        return {
            "apiVersion": "funclet.dev/v1",
            "kind": "Function",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": body,
        }

    async def _create_all(self, plural: str, bodies: Sequence[dict[str, Any]]) -> None:
        """POST as many at a time as the API server takes well."""
        url = f"{self.access.url}/apis/funclet.dev/v1/namespaces/{self.namespace}/{plural}"
        left = list(bodies)
        async with aiohttp.ClientSession(headers=self.access.headers, connector=_connector(self.access.verify)) as api:

            async def write() -> None:
                while left:
                    async with api.post(url, json=left.pop()) as answer:
                        if answer.status != 201:
                            raise RuntimeError(f"POST {plural}: {answer.status} {await answer.text()}")

            await asyncio.gather(*(write() for _ in range(WRITERS_AT_ONCE)))

    def wait_functions(self, count: int, prefix: str) -> None:
        """Returns when so many functions with this prefix are Ready."""

        def are_ready() -> bool:
            return (
                sum(_is_ready(one) for one in self.list_functions() if one["metadata"]["name"].startswith(prefix))
                == count
            )

        self.wait(are_ready, f"{count} functions {prefix}-… to be Ready", READY_SECONDS)

    def list_functions(self) -> list[dict[str, Any]]:
        """All functions of the namespace."""
        return self._list(f"/apis/funclet.dev/v1/namespaces/{self.namespace}/functions")

    def list_pods(self, selector: str) -> list[dict[str, Any]]:
        """The namespace's pods with these labels that are not on their way out."""
        pods = self._list(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=selector)
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def _list(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        answer = self.api.get(path, params=parameters)
        answer.raise_for_status()
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    def wait_pool(self, size: int, seconds: float = 90) -> None:
        """Returns when the pool holds so many running instances, and none is on its way or about to be any more."""
        looked: list[tuple[float, set[str]]] = []

        def is_complete() -> bool:
            pods = {
                pod["metadata"]["name"]: pod["status"]["phase"] for pod in self.list_pods("funclet.dev/state=generic")
            }
            if not looked or looked[-1][1] != pods.keys():
                looked.append((time.monotonic(), set(pods)))
            is_settled = time.monotonic() - looked[-1][0] >= SETTLED_SECONDS
            return is_settled and len(pods) >= size and set(pods.values()) <= {"Running"}

        self.wait(is_complete, f"{size} generic instances", seconds)

    def wait_labelled(self, function: str) -> None:
        """Returns when the function's instance says whose it is: its labels are written when nobody waits any more."""
        self.wait(lambda: bool(self.list_pods(f"funclet.dev/function={function}")), f"the labels of {function}", 30)

    def wait_gone(self, selector: str, seconds: float = 90) -> None:
        """Returns when the last pod with these labels has ended: until then its end takes the kubelet's time."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        self.wait(lambda: not self._list(path, labelSelector=selector), f"pods with {selector} to go", seconds)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float, every: float = 0.1) -> None:
        """Asks until it is so. Raises Unmeasured when that takes too long."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise Unmeasured(f"waited {seconds:.0f} s in vain for {what}")
            time.sleep(every)

    def set_pool_size(self, size: int) -> None:
        """How many generic instances the scaler keeps; it starts anew when that changes."""
        if self.pool_size() == size:
            return
        self.kubectl("set", "env", *SCALER, f"{POOL_SIZE}={size}")
        self.wait_scaler()

    def wait_scaler(self) -> None:
        """Returns when the scaler has started."""
        self.kubectl("rollout", "status", *SCALER, "--timeout=60s")

    def pool_size(self) -> int:
        """How many it keeps now."""
        lines = self.kubectl("set", "env", *SCALER, "--list").splitlines()
        return next(int(line.partition("=")[2]) for line in lines if line.startswith(f"{POOL_SIZE}="))

    def pod_address(self, role: str) -> str:
        """The address of a role's only pod."""
        [pod] = self.objects("pods", RELEASE_NAMESPACE, f"app.kubernetes.io/component={role}")
        return str(pod["status"]["podIP"])

    def close(self) -> None:
        """Deletes the namespace and waits for its instances to be gone: the next benchmark finds a quiet node."""
        self.kubectl("delete", "namespace", self.namespace, "--wait=false")
        with contextlib.suppress(Unmeasured):
            self.wait(lambda: not self._list(f"/api/v1/namespaces/{self.namespace}/pods"), "the pods to go", 60, 0.5)
        self.api.close()


@contextlib.contextmanager
def cluster(pool: int | None = None) -> Iterator[Cluster]:
    """A namespace of the benchmark's own, with a warm pool of this size; afterwards all is as it was."""
    with contextlib.ExitStack() as afterwards:
        world = Cluster()
        afterwards.callback(world.set_pool_size, world.pool_size())
        afterwards.callback(world.close)  # first: the pods of a crowded namespace leave no room for a new scaler
        if pool is not None:
            world.set_pool_size(pool)
        yield world


def _connector(verify: ssl.SSLContext) -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(ssl=verify, limit=WRITERS_AT_ONCE)


def _is_ready(resource: dict[str, Any]) -> bool:
    conditions = resource.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
