"""The pod of an instance, as a manifest.

- Memory: request = limit = the function's memory size, as Lambda counts it.
- CPU: a request of Lambda's share (memory / 1,769 MiB of a core) and no limit. With a limit, 128 MiB would get 72 ms
  of CPU a second and a cold start of Python alone would be throttled for seconds; the request still divides a busy
  node by memory size.
- No probes: their granularity is a second. The scaler pushes to the agent as soon as the pod has an address.
- restartPolicy Never: an instance that died is replaced, for its name and its tokens belong to one specialisation.
"""

from math import ceil
from typing import Any

from funclet.core.instances import MANAGED_BY, MANAGED_BY_LABEL, InstanceRequest

AGENT_PORT = 8700
CONTAINER = "function"
USER_ID = 65532
MEMORY_PER_CPU_MIB = 1769
"""Lambda: "At 1,769 MB, a function has the equivalent of one vCPU"."""
TASK_SIZE_MIB = 512
"""Room for the unpacked code; Lambda allows 250 MB."""
GRACE_SECONDS = 5
"""What the agent may need beyond the function's timeout to end."""


def cpu_millicores(memory_mib: int) -> int:
    """Lambda's share: 128 MiB are 73m, 1,769 MiB are 1000m."""
    return ceil(memory_mib * 1000 / MEMORY_PER_CPU_MIB)


def build_resources(memory_mib: int) -> dict[str, dict[str, str]]:
    """Requests and limits of an instance's container."""
    memory = f"{memory_mib}Mi"
    return {"requests": {"memory": memory, "cpu": f"{cpu_millicores(memory_mib)}m"}, "limits": {"memory": memory}}


def build_resize(memory_mib: int) -> dict[str, Any]:
    """The body of a PATCH of `pods/resize` (strategic merge: containers are matched by name)."""
    return {"spec": {"containers": [{"name": CONTAINER, "resources": build_resources(memory_mib)}]}}


def build_pod(request: InstanceRequest, image: str, image_pull_policy: str) -> dict[str, Any]:
    """The whole manifest; it passes the restricted Pod Security Standard."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": request.name,
            "namespace": request.namespace,
            "labels": {**request.pod.labels, **request.labels, MANAGED_BY_LABEL: MANAGED_BY},
            "annotations": {**request.pod.annotations, **request.annotations},
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": request.timeout_seconds + GRACE_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER_ID,
                "runAsGroup": USER_ID,
                "fsGroup": USER_ID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_build_container(request, image, image_pull_policy)],
            "volumes": [
                {"name": "task", "emptyDir": {"sizeLimit": f"{TASK_SIZE_MIB}Mi"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": f"{request.ephemeral_storage_mib}Mi"}},
            ],
            **_placement(request),
        },
    }


def _build_container(request: InstanceRequest, image: str, image_pull_policy: str) -> dict[str, Any]:
    environment = {
        "FUNCLET_INSTANCE_NAME": request.name,
        "FUNCLET_SPECIALISE_TOKEN_SHA256": request.specialise_token_sha256,
        "FUNCLET_INVOKE_TOKEN_SHA256": request.invoke_token_sha256,
    }
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": image_pull_policy,
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "ports": [{"name": "agent", "containerPort": AGENT_PORT}],
        "resources": build_resources(request.memory_mib),
        "resizePolicy": [{"resourceName": name, "restartPolicy": "NotRequired"} for name in ("cpu", "memory")],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "task", "mountPath": "/var/task"}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }


def _placement(request: InstanceRequest) -> dict[str, Any]:
    """The author's own settings, from the allowlist."""
    pod = request.pod.to_wire()
    names = ("serviceAccountName", "nodeSelector", "tolerations", "runtimeClassName")
    return {name: pod[name] for name in names if pod.get(name)}


def memory_mib_of(pod: dict[str, Any]) -> int:
    """The memory size that a manifest of ours asks for; 0 when it is not one of ours."""
    limits = pod["spec"]["containers"][0].get("resources", {}).get("limits", {})
    text = str(limits.get("memory", ""))
    if text.endswith("Gi") and text[:-2].isdigit():
        # The API server writes 1024Mi as 1Gi.
        return int(text[:-2]) * 1024
    return int(text[:-2]) if text.endswith("Mi") and text[:-2].isdigit() else 0


def find_resize_refusal(pod: dict[str, Any]) -> str | None:
    """Why the kubelet does not carry out a resize (Deferred, Infeasible), None when it does or none was asked for."""
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "PodResizePending" and condition["status"] == "True":
            return str(condition.get("reason", "Pending"))
    return None
