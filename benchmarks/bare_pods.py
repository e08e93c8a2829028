"""How long Kubernetes itself takes for pods like an instance's: what cold starts beyond the pool are compared with."""

import copy
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from benchmarks.cluster import Cluster
from benchmarks.figure import Unmeasured

LABEL = "bench.funclet.dev/bare"
WAIT_SECONDS = 90


def manifest(world: Cluster) -> dict[str, Any]:
    """A pod with the image and settings of a generic instance, without the labels by which the scaler knows its own."""
    pods = world.list_pods("funclet.dev/state=generic")
    if not pods:
        raise Unmeasured("there is no generic instance to take the image and the settings from")
    spec = copy.deepcopy(pods[0]["spec"])
    for name in ("nodeName", "tolerations", "priority", "preemptionPolicy", "serviceAccountName", "serviceAccount"):
        spec.pop(name, None)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {LABEL: "true"}}, "spec": spec}


def start_seconds(world: Cluster, template: dict[str, Any], count: int) -> list[float]:
    """From the POST of so many pods at once to each one's Running, in seconds, in order; they are deleted again."""
    path = f"/api/v1/namespaces/{world.namespace}/pods"
    names = [f"bare-{time.monotonic_ns()}-{number}" for number in range(count)]
    running: dict[str, float] = {}
    complete = threading.Event()
    listed = world.api.get(path, params={"limit": "1"}).raise_for_status().json()
    following = {"watch": "true", "labelSelector": LABEL, "resourceVersion": listed["metadata"]["resourceVersion"]}
    with world.api.stream("GET", path, params=following, timeout=WAIT_SECONDS) as watch:
        reader = threading.Thread(target=_note_running, args=(watch, set(names), running, complete), daemon=True)
        reader.start()
        began = time.monotonic()
        with ThreadPoolExecutor(min(count, 16)) as posting:
            list(posting.map(lambda name: _post(world, path, template, name), names))
        if not complete.wait(WAIT_SECONDS):
            raise Unmeasured(f"{count - len(running)} of {count} bare pods did not run within {WAIT_SECONDS} s")
        reader.join()
    # With a grace of 0 the objects would go at once, and the kubelet end the containers while the next figure is taken.
    world.api.delete(path, params={"labelSelector": LABEL, "gracePeriodSeconds": "1"}).raise_for_status()
    world.wait_gone(LABEL)
    return sorted(at - began for at in running.values())


def _post(world: Cluster, path: str, template: dict[str, Any], name: str) -> None:
    body = {**template, "metadata": {**template["metadata"], "name": name}}
    world.api.post(path, json=body).raise_for_status()


def _note_running(watch: httpx.Response, names: set[str], running: dict[str, float], complete: threading.Event) -> None:
    """Reads the watch until each of the names has been seen Running."""
    for line in watch.iter_lines():
        found = json.loads(line)["object"]
        name = found["metadata"]["name"]
        if name in names and found["status"].get("phase") == "Running":
            running.setdefault(name, time.monotonic())
            if len(running) == len(names):
                complete.set()
                return
