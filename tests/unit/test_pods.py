"""The pod of an instance."""

import json
from dataclasses import replace

import pytest
from tests.unit.instance_requests import instance_request

from funclet.api.pod import PodSettings
from funclet.core.pods import (
    PodDefaults,
    build_pod,
    build_resize,
    cpu_millicores,
    find_obstacle,
    find_resize_refusal,
    granted_memory_mib,
    limit_mib_of,
    memory_mib_of,
)

REQUEST = instance_request(
    pod=PodSettings.model_validate({"nodeSelector": {"disk": "ssd"}, "labels": {"funclet.dev/state": "forged"}})
)


def test_it_passes_the_restricted_pod_security_standard() -> None:
    spec = build_pod(REQUEST, "image", PodDefaults())["spec"]
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
    pod = build_pod(REQUEST, "image", PodDefaults())
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["enableServiceLinks"] is False
    names = {entry["name"] for entry in pod["spec"]["containers"][0]["env"]}
    assert names == {
        "FUNCLET_INSTANCE_NAME",
        "FUNCLET_SPECIALISE_TOKEN_SHA256",
        "FUNCLET_INVOKE_TOKEN_SHA256",
        "FUNCLET_MAX_PROCESSES",
        "FUNCLET_MEMORY_LIMIT_FILES",
        "FUNCLET_TMP_MIB",
    }


def test_each_instance_has_a_user_of_its_own_whose_processes_are_counted() -> None:
    users = set()
    for number in range(1000):
        context = build_pod(replace(REQUEST, name=f"python313-{number}"), "image", PodDefaults())["spec"][
            "securityContext"
        ]
        assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"]
        assert 1 << 30 <= context["runAsUser"] <= (1 << 31) - 1
        users.add(context["runAsUser"])
    assert len(users) == 1000


def test_sizes_are_the_functions() -> None:
    pod = build_pod(REQUEST, "image", PodDefaults())
    [container] = pod["spec"]["containers"]
    assert container["resources"] == {"requests": {"memory": "256Mi", "cpu": "145m"}, "limits": {"memory": "256Mi"}}
    assert pod["spec"]["terminationGracePeriodSeconds"] == 35
    assert {"name": "tmp", "emptyDir": {"sizeLimit": "1024Mi"}} in pod["spec"]["volumes"]
    assert build_resize(256)["spec"]["containers"][0]["resources"] == container["resources"]


def test_the_authors_settings_are_in_it_but_not_above_ours() -> None:
    pod = build_pod(REQUEST, "image", PodDefaults())
    assert pod["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert pod["metadata"]["labels"]["funclet.dev/state"] == "generic"
    assert pod["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "funclet-scaler"
    assert "runtimeClassName" not in pod["spec"]


def test_there_are_no_probes_and_it_is_json() -> None:
    assert "Probe" not in json.dumps(build_pod(REQUEST, "image", PodDefaults()))


@pytest.mark.parametrize(("memory_mib", "millicores"), [(128, 73), (1769, 1000), (3538, 2000), (10240, 5789)])
def test_cpu_follows_memory_as_on_lambda(memory_mib: int, millicores: int) -> None:
    assert cpu_millicores(memory_mib) == millicores


def test_an_installation_may_request_less_cpu_than_lambdas_share() -> None:
    [container] = build_pod(REQUEST, "image", PodDefaults("Never", cpu_request_percent=10))["spec"]["containers"]
    assert container["imagePullPolicy"] == "Never"
    assert container["resources"]["requests"] == {"memory": "256Mi", "cpu": "15m"}
    assert build_resize(256, 10)["spec"]["containers"][0]["resources"] == container["resources"]


@pytest.mark.parametrize(("text", "memory_mib"), [("256Mi", 256), ("1Gi", 1024), ("1000", 0), ("", 0)])
def test_memory_is_read_back(text: str, memory_mib: int) -> None:
    resources = {"requests": {"memory": text}, "limits": {"memory": f"1{text}"}}
    pod = {"spec": {"containers": [{"name": "function", "resources": resources}]}}
    assert memory_mib_of(pod) == memory_mib
    assert limit_mib_of(pod) == (0 if memory_mib == 0 else {256: 1256, 1024: 11 * 1024}[memory_mib])


def test_a_generic_instance_may_take_more_than_it_requests() -> None:
    generic = replace(REQUEST, memory_mib=128, limit_mib=512)
    [container] = build_pod(generic, "image", PodDefaults())["spec"]["containers"]
    assert container["resources"] == {"requests": {"memory": "128Mi", "cpu": "73m"}, "limits": {"memory": "512Mi"}}
    assert build_resize(128, 100, 512)["spec"]["containers"][0]["resources"] == container["resources"]


def _pod(**condition: str) -> dict[str, object]:
    return {"status": {"conditions": [{"type": "Ready", "status": "True"}, condition]}}


def _waiting(**waiting: str) -> dict[str, object]:
    agent = {"name": "agent", "image": "agent:1", "state": {"running": {}}}
    function = {"name": "function", "image": "shop/prices:2", "state": {"waiting": waiting}}
    return {"status": {"phase": "Pending", "containerStatuses": [agent, function]}}


@pytest.mark.parametrize(
    ("pod", "refusal"),
    [
        (_pod(type="PodResizePending", status="True", reason="Infeasible"), "Infeasible"),
        (_pod(type="PodResizePending", status="True", reason="Deferred"), "Deferred"),
        (_pod(type="PodResizePending", status="False", reason="Infeasible"), None),
        (_pod(type="PodResizeInProgress", status="True"), None),
        (_pod(type="PodResizeInProgress", status="True", reason="Error"), "Error"),
        ({}, None),
    ],
)
def test_a_resize_that_is_not_carried_out_has_a_reason(pod: dict[str, object], refusal: str | None) -> None:
    assert find_resize_refusal(pod) == refusal


@pytest.mark.parametrize(
    ("pod", "obstacle"),
    [
        (
            _pod(type="PodScheduled", status="False", reason="Unschedulable", message="0/1 nodes"),
            ("Unschedulable", "0/1 nodes"),
        ),
        (
            _waiting(reason="ErrImagePull", message="no such host"),
            ("ErrImagePull", "shop/prices:2: no such host"),
        ),
        (_waiting(reason="ContainerCreating"), None),
        (_pod(type="PodScheduled", status="False", reason="SchedulingGated", message="gates"), None),
        (_pod(type="PodScheduled", status="True"), None),
        ({"status": {}}, None),
    ],
)
def test_scheduler_and_kubelet_say_why_a_pod_does_not_start(
    pod: dict[str, object], obstacle: tuple[str, str] | None
) -> None:
    assert find_obstacle(pod) == obstacle


def test_what_is_in_force_may_differ_from_what_was_asked_for() -> None:
    running = {"status": {"containerStatuses": [{"name": "function", "resources": {"limits": {"memory": "128Mi"}}}]}}
    assert granted_memory_mib(running) == 128
    assert granted_memory_mib({"status": {"containerStatuses": [{"name": "function"}]}}) == 0
    assert granted_memory_mib({}) == 0
