"""The pod of an instance, as a manifest.

- Memory: request = limit = the function's memory size, as Lambda counts it. A generic instance requests little and may
  take as much as the largest function that it may become: so it has what that was promised before it is resized.
- CPU: a request of Lambda's share (memory / 1,769 MiB of a core), or of a part of it, and no limit. With a limit,
  128 MiB would get 72 ms of CPU a second and a cold start of Python alone would be throttled for seconds; the request
  still divides a busy node by memory size. Functions are idle most of the time: an installation that requests ten
  percent of the share puts ten times as many on a node.
- No probes: their granularity is a second. The scaler pushes to the agent as soon as the pod has an address.
- restartPolicy Never: an instance that died is replaced, for its name and its tokens belong to one specialisation.
- A function that is packaged as an image runs in a container of its own beside the agent. They share the pod's
  network, over which the runtime speaks to the agent, and its process namespace, in which the agent sees the runtime
  end, and ends it. The agent comes first: the kubelet starts the containers in their order, each when the hook of the
  one before is done, and the agent's waits until it listens. When the runtime has ended, so does the agent, and the
  pod is over. (As a sidecar among the init containers it would hold up the function until the kubelet's next look.)
"""

from dataclasses import dataclass
from math import ceil
from typing import Any
from zlib import crc32

from funclet.core.images import RUNTIME_API_PORT, ImageFunction, container_command, container_variables
from funclet.core.instances import MANAGED_BY, MANAGED_BY_LABEL, InstanceRequest

AGENT_PORT = 8700
CONTAINER = "function"
AGENT_CONTAINER = "agent"
"""Beside the container of a function's image."""
AGENT_RESOURCES = {"requests": {"memory": "32Mi", "cpu": "10m"}, "limits": {"memory": "128Mi"}}
"""It takes 15 MiB, and what the largest event and answer (6 MiB each) need on their way."""
AWAIT_RUNTIME_API = "import socket,time\nwhile socket.socket().connect_ex(('127.0.0.1', {port})): time.sleep(0.01)"
MAX_PROCESSES = 1024
"""Lambda's quota "Execution processes/threads"."""
MEMORY_PER_CPU_MIB = 1769
"""Lambda: "At 1,769 MB, a function has the equivalent of one vCPU"."""
TASK_SIZE_MIB = 512
"""Room for the unpacked code; Lambda allows 250 MB."""
MEMORY_LIMIT_FILES = "/sys/fs/cgroup/memory.max:/sys/fs/cgroup/memory/memory.limit_in_bytes"
"""Where a container finds the limit that is in force: cgroup v2, v1."""
OWN_NAMES = ("sandbox.localdomain", "sandbox")
"""What Lambda calls an execution environment from inside of it: extensions listen there for telemetry."""
GRACE_SECONDS = 5
"""What the agent may need beyond the function's timeout to end."""


@dataclass(frozen=True, slots=True)
class PodDefaults:
    """What an installation says of all its instances."""

    image_pull_policy: str = "IfNotPresent"
    cpu_request_percent: int = 100
    region: str = "us-east-1"


def cpu_millicores(memory_mib: int, percent: int = 100) -> int:
    """Lambda's share, or so many percent of it: 128 MiB are 73m, 1,769 MiB are 1000m."""
    return ceil(memory_mib * 10 * percent / MEMORY_PER_CPU_MIB)


def build_resources(memory_mib: int, cpu_percent: int = 100, limit_mib: int = 0) -> dict[str, dict[str, str]]:
    """Requests and limits of an instance's container; a limit of 0 is the size itself."""
    memory, cpu = f"{memory_mib}Mi", f"{cpu_millicores(memory_mib, cpu_percent)}m"
    return {"requests": {"memory": memory, "cpu": cpu}, "limits": {"memory": f"{limit_mib or memory_mib}Mi"}}


def build_resize(memory_mib: int, cpu_percent: int = 100, limit_mib: int = 0) -> dict[str, Any]:
    """The body of a PATCH of `pods/resize` (strategic merge: containers are matched by name)."""
    resources = build_resources(memory_mib, cpu_percent, limit_mib)
    return {"spec": {"containers": [{"name": CONTAINER, "resources": resources}]}}


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
            "hostAliases": [{"ip": "127.0.0.1", "hostnames": list(OWN_NAMES)}],
            "terminationGracePeriodSeconds": request.timeout_seconds + GRACE_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": user_id(request.name),
                "runAsGroup": user_id(request.name),
                "fsGroup": user_id(request.name),
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **_containers(request, image, defaults),
            **_placement(request),
        },
    }


def _containers(request: InstanceRequest, image: str, defaults: PodDefaults) -> dict[str, Any]:
    tmp = {"name": "tmp", "emptyDir": {"sizeLimit": f"{request.ephemeral_storage_mib}Mi"}}
    if request.image is not None:
        agent = _build_neighbour_agent(request, image, defaults)
        function = _build_image_container(request, request.image, defaults)
        return {"shareProcessNamespace": True, "containers": [agent, function], "volumes": [tmp]}
    code = [{"name": name, "emptyDir": {"sizeLimit": f"{TASK_SIZE_MIB}Mi"}} for name in ("task", "layers")]
    return {"containers": [_build_container(request, image, defaults)], "volumes": [*code, tmp]}


def _build_container(request: InstanceRequest, image: str, defaults: PodDefaults) -> dict[str, Any]:
    """The agent with the function inside of it."""
    limits = {
        "FUNCLET_MAX_PROCESSES": str(MAX_PROCESSES),
        "FUNCLET_TMP_MIB": str(request.ephemeral_storage_mib),
        "FUNCLET_MEMORY_LIMIT_FILES": MEMORY_LIMIT_FILES,
    }
    return {
        **_agent(CONTAINER, request, image, defaults, limits),
        **_function_resources(request, defaults),
        "volumeMounts": [
            {"name": "task", "mountPath": "/var/task"},
            {"name": "layers", "mountPath": "/opt"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }


def _build_neighbour_agent(request: InstanceRequest, image: str, defaults: PodDefaults) -> dict[str, Any]:
    """The agent beside a function."""
    port = {"FUNCLET_RUNTIME_API_PORT": str(RUNTIME_API_PORT)}
    wait = ["python3", "-I", "-S", "-c", AWAIT_RUNTIME_API.format(port=RUNTIME_API_PORT)]
    return {
        **_agent(AGENT_CONTAINER, request, image, defaults, port),
        "resources": AGENT_RESOURCES,
        "lifecycle": {"postStart": {"exec": {"command": wait}}},
    }


def _build_image_container(request: InstanceRequest, function: ImageFunction, defaults: PodDefaults) -> dict[str, Any]:
    policy = {"imagePullPolicy": request.pod.image_pull_policy} if request.pod.image_pull_policy else {}
    return {
        "name": CONTAINER,
        "image": function.image.uri,
        **policy,
        **container_command(function.image),
        "env": container_variables(function, request.name, defaults.region),
        **_function_resources(request, defaults),
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }


RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def _agent(
    name: str, request: InstanceRequest, image: str, defaults: PodDefaults, more: dict[str, str]
) -> dict[str, Any]:
    environment = {
        "FUNCLET_INSTANCE_NAME": request.name,
        "FUNCLET_SPECIALISE_TOKEN_SHA256": request.specialise_token_sha256,
        "FUNCLET_INVOKE_TOKEN_SHA256": request.invoke_token_sha256,
        **more,
    }
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": defaults.image_pull_policy,
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "ports": [{"name": "agent", "containerPort": AGENT_PORT}],
        "securityContext": RESTRICTED,
    }


def _function_resources(request: InstanceRequest, defaults: PodDefaults) -> dict[str, Any]:
    return {
        "resources": build_resources(request.memory_mib, defaults.cpu_request_percent, request.limit_mib),
        "resizePolicy": [{"resourceName": name, "restartPolicy": "NotRequired"} for name in ("cpu", "memory")],
    }


def _placement(request: InstanceRequest) -> dict[str, Any]:
    """The author's own settings, from the allowlist."""
    pod = request.pod.to_wire()
    names = ("serviceAccountName", "nodeSelector", "tolerations", "runtimeClassName", "imagePullSecrets")
    return {name: pod[name] for name in names if pod.get(name)}


def memory_mib_of(pod: dict[str, Any]) -> int:
    """The memory size that a manifest of ours asks for; 0 when it is not one of ours."""
    return _mebibytes(_find_container(pod["spec"]["containers"], CONTAINER), "requests")


def limit_mib_of(pod: dict[str, Any]) -> int:
    """The memory limit that a manifest of ours asks for; 0 when it is not one of ours."""
    return _mebibytes(_find_container(pod["spec"]["containers"], CONTAINER), "limits")


def find_resize_refusal(pod: dict[str, Any]) -> str | None:
    """Why the kubelet does not carry out a resize (Deferred, Infeasible, Error); None when it does, or was not asked.

    What no pod on this node could have is Infeasible up to Kubernetes 1.35; 1.36 refuses the PATCH with 403.

    https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/#pod-resize-status
    """
    if (pending := _find_condition(pod, "PodResizePending", "True")) is not None:
        return str(pending.get("reason", "Pending"))
    progress = _find_condition(pod, "PodResizeInProgress", "True")
    return "Error" if progress is not None and progress.get("reason") == "Error" else None


def find_obstacle(pod: dict[str, Any]) -> tuple[str, str] | None:
    """Why the pod does not start, as reason and message; None when it does, or nobody has looked yet."""
    condition = _find_condition(pod, "PodScheduled", "False")
    if condition is not None and condition.get("reason") == "Unschedulable":
        return "Unschedulable", str(condition.get("message", "no node has room"))
    for status in pod.get("status", {}).get("containerStatuses", []):
        waiting = status.get("state", {}).get("waiting", {})
        if waiting.get("reason") in START_FAILURES:
            return waiting["reason"], f"{status.get('image', '')}: {waiting.get('message', waiting['reason'])}"
    return None


START_FAILURES = (
    *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ErrImagePullBackOff"),
    *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
)
"""What the kubelet says of a container that waits for something that does not come by itself."""


def is_over(pod: dict[str, Any]) -> bool:
    """Whether all of it has ended, or its agent has: nobody else serves."""
    status = pod.get("status", {})
    agent = _find_container(status.get("containerStatuses", []), AGENT_CONTAINER)
    return status.get("phase") in ("Succeeded", "Failed") or "terminated" in agent.get("state", {})


def granted_memory_mib(pod: dict[str, Any]) -> int:
    """The memory limit that is in force in the running container; 0 while that is not known."""
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return _mebibytes(_find_container(statuses, CONTAINER), "limits")


def _find_container(containers: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The one of this name; empty if there is none."""
    return next((one for one in containers if one["name"] == name), {})


def _find_condition(pod: dict[str, Any], kind: str, status: str) -> dict[str, Any] | None:
    conditions = pod.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == kind and one["status"] == status), None)


def _mebibytes(container: dict[str, Any], kind: str) -> int:
    """Its memory request or limit, as we write it (256Mi) or as the API server does (1024Mi is 1Gi)."""
    text = str(container.get("resources", {}).get(kind, {}).get("memory", ""))
    if text.endswith("Gi") and text[:-2].isdigit():
        return int(text[:-2]) * 1024
    return int(text[:-2]) if text.endswith("Mi") and text[:-2].isdigit() else 0
