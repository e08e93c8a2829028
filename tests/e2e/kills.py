"""kill -9 from outside: of a role's or an instance's process, or of its whole pod; and callers who go on meanwhile."""

import threading
import time
from collections import Counter

import httpx
from tests.cluster import configuration, kind, node
from tests.cluster.steps import run
from tests.e2e.worlds import RELEASE_NAMESPACE, ClusterWorld

PAUSE_SECONDS = 0.01
TIMEOUT = httpx.Timeout(100, connect=5)
"""The address of a pod that has just died swallows connections."""


def delete_pods(world: ClusterWorld, namespace: str, selector: str) -> None:
    """End all these pods at once, without a chance to clean up; what they had on their volumes goes too."""
    arguments = ("-n", namespace, "-l", selector, "--force", "--grace-period=0", "--wait=false")
    world.kubectl("delete", "pods", *arguments)


def kill_pods(world: ClusterWorld, role: str) -> None:
    """End all pods of the role."""
    delete_pods(world, RELEASE_NAMESPACE, f"app.kubernetes.io/component={role}")


def kill_processes(world: ClusterWorld, namespace: str, selector: str, name: str = "") -> int:
    """SIGKILL to the first process of these pods' containers, which die of it; how many there were.

    `name`: of this pod alone. A role's container is started again in its pod, at first at once, after each further end
    later (10 s, 20 s, …).
    """
    killed = 0
    for pod in world.objects("pods", namespace, selector):
        if name not in ("", pod["metadata"]["name"]):
            continue
        for status in pod["status"].get("containerStatuses", []):
            if "running" in status["state"]:
                _in_node("task", "kill", "--signal", "SIGKILL", status["containerID"].rpartition("/")[2])
                killed += 1
    return killed


def kill_role(world: ClusterWorld, role: str) -> None:
    """SIGKILL to a role's process, which must be there."""
    assert kill_processes(world, RELEASE_NAMESPACE, f"app.kubernetes.io/component={role}"), f"no {role} runs"


def _in_node(*arguments: str) -> None:
    """containerd's own client, where the pods run."""
    client = ("ctr", "--namespace", "k8s.io")
    if kind.is_chosen():
        run(["docker", "exec", f"{kind.CLUSTER}-control-plane", *client, *arguments])
    else:
        node.in_node(*client, "--address", configuration.CONTAINERD_SOCKET, *arguments)


def wait_for(world: ClusterWorld, role: str) -> None:
    """Returns when the role is up again."""
    world.kubectl("rollout", "status", f"deployment/funclet-{role}", "-n", RELEASE_NAMESPACE, "--timeout=180s")


class Steady(threading.Thread):
    """Calls a function all the time, over a kept connection, and remembers every answer."""

    def __init__(self, world: ClusterWorld, function: str) -> None:
        super().__init__(daemon=True)
        self._url = f"{world.endpoint}/2015-03-31/functions/{function}/invocations"
        self._stop_event = threading.Event()
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        """What was no plain success: function errors, refusals, broken connections."""
        self.billed_ms: list[int] = []
        """Of each answer that had it."""
        self.unknown = 0
        """Calls without an answer: nobody knows whether they ran."""

    def run(self) -> None:
        with httpx.Client(timeout=TIMEOUT) as http:
            while not self._stop_event.is_set():
                self._call(http)
                time.sleep(PAUSE_SECONDS)

    def _call(self, http: httpx.Client) -> None:
        try:
            answer = http.post(self._url, json={})
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            self.failures.append(repr(error))
            return
        except httpx.TransportError as error:
            self.failures.append(repr(error))
            self.unknown += 1
            return
        self.statuses[answer.status_code] += 1
        if answer.is_error or "x-amz-function-error" in answer.headers:
            self.failures.append(f"{answer.status_code} {answer.text[:200]}")
        if billed := answer.headers.get("x-funclet-billed-ms"):
            self.billed_ms.append(int(billed))

    def __enter__(self) -> "Steady":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_event.set()
        self.join()
