"""The pod of an instance."""

import json

import pytest

from funclet.api.function import PodSettings
from funclet.core.instances import InstanceRequest
from funclet.core.pods import build_pod, build_resize, cpu_millicores, find_resize_refusal, memory_mib_of

REQUEST = InstanceRequest(
    name="python313-1",
    namespace="team",
    runtime="python3.13",
    memory_mib=256,
    ephemeral_storage_mib=1024,
    timeout_seconds=30,
    specialise_token_sha256="5" * 64,
    invoke_token_sha256="6" * 64,
    labels={"funclet.dev/state": "generic"},
    annotations={},
    pod=PodSettings.model_validate({"nodeSelector": {"disk": "ssd"}, "labels": {"funclet.dev/state": "forged"}}),
)


def test_it_passes_the_restricted_pod_security_standard() -> None:
    spec = build_pod(REQUEST, "image", "IfNotPresent")["spec"]
    [container] = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(set(volume) == {"name", "emptyDir"} for volume in spec["volumes"])


def test_it_knows_nothing_that_it_need_not_know() -> None:
    pod = build_pod(REQUEST, "image", "IfNotPresent")
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["enableServiceLinks"] is False
    names = {entry["name"] for entry in pod["spec"]["containers"][0]["env"]}
    assert names == {"FUNCLET_INSTANCE_NAME", "FUNCLET_SPECIALISE_TOKEN_SHA256", "FUNCLET_INVOKE_TOKEN_SHA256"}


def test_sizes_are_the_functions() -> None:
    pod = build_pod(REQUEST, "image", "IfNotPresent")
    [container] = pod["spec"]["containers"]
    assert container["resources"] == {"requests": {"memory": "256Mi", "cpu": "145m"}, "limits": {"memory": "256Mi"}}
    assert pod["spec"]["terminationGracePeriodSeconds"] == 35
    assert {"name": "tmp", "emptyDir": {"sizeLimit": "1024Mi"}} in pod["spec"]["volumes"]
    assert build_resize(256)["spec"]["containers"][0]["resources"] == container["resources"]


def test_the_authors_settings_are_in_it_but_not_above_ours() -> None:
    pod = build_pod(REQUEST, "image", "IfNotPresent")
    assert pod["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert pod["metadata"]["labels"]["funclet.dev/state"] == "generic"
    assert pod["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "funclet-scaler"
    assert "runtimeClassName" not in pod["spec"]


def test_there_are_no_probes_and_it_is_json() -> None:
    assert "Probe" not in json.dumps(build_pod(REQUEST, "image", "IfNotPresent"))


@pytest.mark.parametrize(("memory_mib", "millicores"), [(128, 73), (1769, 1000), (3538, 2000), (10240, 5789)])
def test_cpu_follows_memory_as_on_lambda(memory_mib: int, millicores: int) -> None:
    assert cpu_millicores(memory_mib) == millicores


@pytest.mark.parametrize(("text", "memory_mib"), [("256Mi", 256), ("1Gi", 1024), ("1000", 0), ("", 0)])
def test_memory_is_read_back(text: str, memory_mib: int) -> None:
    pod = {"spec": {"containers": [{"resources": {"limits": {"memory": text}}}]}}
    assert memory_mib_of(pod) == memory_mib


def test_a_pending_resize_has_a_reason() -> None:
    def pod(status: str) -> dict[str, object]:
        return {"status": {"conditions": [{"type": "PodResizePending", "status": status, "reason": "Infeasible"}]}}

    assert find_resize_refusal(pod("True")) == "Infeasible"
    assert find_resize_refusal(pod("False")) is None
    assert find_resize_refusal({}) is None
