"""The pod of an instance, as a manifest.

- Memory: request = limit = the function's memory size, as Lambda counts it.
- CPU: a request of Lambda's share (memory / 1,769 MiB of a core), or of a part of it, and no limit. With a limit,
  128 MiB would get 72 ms of CPU a second and a cold start of Python alone would be throttled for seconds; the request
  still divides a busy node by memory size. Functions are idle most of the time: an installation that requests ten
  percent of the share puts ten times as many on a node.
- No probes: their granularity is a second. The scaler pushes to the agent as soon as the pod has an address.
- restartPolicy Never: an instance that died is replaced, for its name and its tokens belong to one specialisation.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any
from zlib import crc32

from funclet.core.instances import MANAGED_BY, MANAGED_BY_LABEL, InstanceRequest

AGENT_PORT = 8700
CONTAINER = "function"
MAX_PROCESSES = 1024
"""Lambda's quota "Execution processes/threads"."""
MEMORY_PER_CPU_MIB = 1769
"""Lambda: "At 1,769 MB, a function has the equivalent of one vCPU"."""
TASK_SIZE_MIB = 512
"""Room for the unpacked code; Lambda allows 250 MB."""
GRACE_SECONDS = 5
"""What the agent may need beyond the function's timeout to end."""


@dataclass(frozen=True, slots=True)
class PodDefaults:
    """What an installation says of all its instances."""

    image_pull_policy: str = "IfNotPresent"
    cpu_request_percent: int = 100


def cpu_millicores(memory_mib: int, percent: int = 100) -> int:
    """Lambda's share, or so many percent of it: 128 MiB are 73m, 1,769 MiB are 1000m."""
    return ceil(memory_mib * 10 * percent / MEMORY_PER_CPU_MIB)


def build_resources(memory_mib: int, cpu_percent: int = 100) -> dict[str, dict[str, str]]:
    """Requests and limits of an instance's container."""
    memory, cpu = f"{memory_mib}Mi", f"{cpu_millicores(memory_mib, cpu_percent)}m"
    return {"requests": {"memory": memory, "cpu": cpu}, "limits": {"memory": memory}}


def build_resize(memory_mib: int, cpu_percent: int = 100) -> dict[str, Any]:
    """The body of a PATCH of `pods/resize` (strategic merge: containers are matched by name)."""
    return {"spec": {"containers": [{"name": CONTAINER, "resources": build_resources(memory_mib, cpu_percent)}]}}


def user_id(name: str) -> int:
    """The user of an instance: its own, for the kernel counts processes by user, over all pods of a node.

    In the upper half of what Kubernetes allows (0 to 2,147,483,647), far from the users of images and machines.
    """
    return (1 << 30) | crc32(name.encode()) & (1 << 30) - 1


def build_pod(request: InstanceRequest, image: str, defaults: PodDefaults) -> dict[str, Any]:
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
                "runAsUser": user_id(request.name),
                "runAsGroup": user_id(request.name),
                "fsGroup": user_id(request.name),
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_build_container(request, image, defaults)],
            "volumes": [
                {"name": "task", "emptyDir": {"sizeLimit": f"{TASK_SIZE_MIB}Mi"}},
                {"name": "layers", "emptyDir": {"sizeLimit": f"{TASK_SIZE_MIB}Mi"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": f"{request.ephemeral_storage_mib}Mi"}},
            ],
            **_placement(request),
        },
    }


def _build_container(request: InstanceRequest, image: str, defaults: PodDefaults) -> dict[str, Any]:
    environment = {
        "FUNCLET_INSTANCE_NAME": request.name,
        "FUNCLET_SPECIALISE_TOKEN_SHA256": request.specialise_token_sha256,
        "FUNCLET_INVOKE_TOKEN_SHA256": request.invoke_token_sha256,
        "FUNCLET_MAX_PROCESSES": str(MAX_PROCESSES),
        "FUNCLET_TMP_MIB": str(request.ephemeral_storage_mib),
    }
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": defaults.image_pull_policy,
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "ports": [{"name": "agent", "containerPort": AGENT_PORT}],
        "resources": build_resources(request.memory_mib, defaults.cpu_request_percent),
        "resizePolicy": [{"resourceName": name, "restartPolicy": "NotRequired"} for name in ("cpu", "memory")],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "task", "mountPath": "/var/task"},
            {"name": "layers", "mountPath": "/opt"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }


def _placement(request: InstanceRequest) -> dict[str, Any]:
    """The author's own settings, from the allowlist."""
    pod = request.pod.to_wire()
    names = ("serviceAccountName", "nodeSelector", "tolerations", "runtimeClassName")
    return {name: pod[name] for name in names if pod.get(name)}


def memory_mib_of(pod: dict[str, Any]) -> int:
    """The memory size that a manifest of ours asks for; 0 when it is not one of ours."""
    return _mebibytes(pod["spec"]["containers"][0].get("resources", {}))


def find_resize_refusal(pod: dict[str, Any]) -> str | None:
    """Why the kubelet does not carry out a resize (Deferred, Infeasible, Error); None when it does, or was not asked.

    https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/#pod-resize-status
    """
    if (pending := _find_condition(pod, "PodResizePending", "True")) is not None:
        return str(pending.get("reason", "Pending"))
    progress = _find_condition(pod, "PodResizeInProgress", "True")
    return "Error" if progress is not None and progress.get("reason") == "Error" else None


def find_unschedulable(pod: dict[str, Any]) -> str | None:
    """The scheduler's word on why no node takes the pod; None when one has, or it has not looked yet."""
    condition = _find_condition(pod, "PodScheduled", "False")
    if condition is None or condition.get("reason") != "Unschedulable":
        return None
    return str(condition.get("message", "no node has room"))


def granted_memory_mib(pod: dict[str, Any]) -> int:
    """The memory limit that is in force in the running container; 0 while that is not known."""
    containers = pod.get("status", {}).get("containerStatuses") or [{}]
    return _mebibytes(containers[0].get("resources", {}))


def _find_condition(pod: dict[str, Any], kind: str, status: str) -> dict[str, Any] | None:
    conditions = pod.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == kind and one["status"] == status), None)


def _mebibytes(resources: dict[str, Any]) -> int:
    """The memory limit, as we write it (256Mi) or as the API server does (1024Mi is 1Gi)."""
    text = str(resources.get("limits", {}).get("memory", ""))
    if text.endswith("Gi") and text[:-2].isdigit():
        return int(text[:-2]) * 1024
    return int(text[:-2]) if text.endswith("Mi") and text[:-2].isdigit() else 0
