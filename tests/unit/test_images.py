"""Functions that are packaged as images: from the spec to the pod's two containers."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from tests.unit.instance_requests import instance_request

from funclet.api.function import Environment, Function, FunctionSpec
from funclet.api.pod import PodSettings
from funclet.core.images import FunctionImage, ImageFunction, container_command, container_variables, lambda_variables
from funclet.core.pods import PodDefaults, build_pod, granted_memory_mib, is_over, memory_mib_of
from funclet.core.pool import may_use_pool
from funclet.core.resolve import FunctionFacts, ImageReference, decide_function
from funclet.core.revision import Revision, find_revision, image_function

SPEC = {"packageType": "Image", "code": {"imageUri": "shop/prices:1"}}
ENVIRONMENT = Environment.model_validate(
    {"variables": {"RATE": "$(TZ) $$5", "AWS_REGION": "mine"}, "secrets": {"KEY": {"name": "shop", "key": "api"}}}
)
IMAGE = ImageFunction(FunctionImage("shop/prices:1"), "prices", 256, ENVIRONMENT, "Text", None)
REQUEST = instance_request("image-1", runtime="image", image=IMAGE)


def activate(**spec: Any) -> Revision:
    """What callers get of a Function with this spec, by way of its status."""
    wire = {"metadata": {"name": "prices", "uid": "u"}, "spec": {**SPEC, **spec}}
    function = Function.model_validate(wire)
    facts = FunctionFacts(ImageReference(function.spec.code.image_uri or ""), {})
    status = decide_function(function, facts, "2026-01-01T00:00:00Z")
    revision = find_revision(function.model_copy(update={"status": status}))
    assert revision is not None
    return revision


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"runtime": "python3.13"}, "packageType Image takes neither runtime nor handler"),
        ({"handler": "index.handler"}, "packageType Image takes neither runtime nor handler"),
        ({"packageType": "Zip"}, "runtime and handler must be given"),
        ({"code": {"inline": "x"}}, "packageType Image and code.imageUri belong together"),
        ({"layers": [{"files": {"a": "b"}}]}, "packageType Image takes no layers"),
        ({"scaling": {"concurrencyPerInstance": 2}}, "scaling.concurrencyPerInstance must be 1"),
        (
            {
                "packageType": "Zip",
                "runtime": "python3.13",
                "handler": "a.b",
                "code": {"inline": ""},
                "imageConfig": {},
            },
            "imageConfig needs packageType Image",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_in_words(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        FunctionSpec.model_validate({**SPEC, **change})


def test_an_image_makes_a_revision_without_a_package() -> None:
    revision = activate(imageConfig={"command": ["app.handler"], "workingDirectory": "/srv"})
    assert revision.image == FunctionImage("shop/prices:1", None, ("app.handler",), "/srv")
    assert (revision.runtime, revision.handler, revision.packages) == ("image", "app.handler", ())
    assert image_function(revision) == ImageFunction(revision.image, "prices", 128, Environment(), "Text", None)
    kept = image_function(revision, "provisioned-concurrency")
    assert kept is not None
    assert lambda_variables(kept, "i", "r")["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency"


def test_whatever_the_container_is_made_of_makes_another_revision() -> None:
    changes: list[dict[str, Any]] = [{}, {"code": {"imageUri": "shop/prices:2"}}, {"imageConfig": {"command": ["b"]}}]
    assert len({activate(**change).revision for change in changes}) == len(changes)


def test_no_generic_instance_can_become_one_of_it() -> None:
    assert not may_use_pool(activate())


def test_the_function_has_its_memory_and_the_agent_a_little_of_its_own() -> None:
    pod = build_pod(REQUEST, "agent:1", PodDefaults())
    agent, function = pod["spec"]["containers"]
    assert [agent["name"], function["name"]] == ["agent", "function"]
    assert (agent["image"], function["image"]) == ("agent:1", "shop/prices:1")
    assert function["resources"]["limits"] == {"memory": "256Mi"}
    assert agent["resources"]["limits"] == {"memory": "128Mi"}
    assert memory_mib_of(pod) == 256
    assert pod["spec"]["shareProcessNamespace"] is True


def test_both_containers_are_restricted_and_the_function_writes_to_tmp_alone() -> None:
    spec = build_pod(REQUEST, "agent:1", PodDefaults())["spec"]
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["containers"][1]["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert spec["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "1024Mi"}}]


def test_the_function_gets_lambdas_variables_and_its_secrets_by_reference_alone() -> None:
    variables = {entry["name"]: entry for entry in container_variables(IMAGE, "image-1", "eu-west-1")}
    assert variables["KEY"] == {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "shop", "key": "api"}}}
    values = {name: entry.get("value") for name, entry in variables.items()}
    assert values["AWS_LAMBDA_RUNTIME_API"] == "127.0.0.1:9001"
    assert values["AWS_LAMBDA_FUNCTION_NAME"] == "prices"
    assert values["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert values["AWS_REGION"] == "eu-west-1"  # Lambda's win
    assert "_HANDLER" not in values
    assert not any(name.startswith("FUNCLET_") for name in values)


def test_kubernetes_expands_nothing_of_what_the_author_wrote() -> None:
    variables = {entry["name"]: entry for entry in container_variables(IMAGE, "image-1", "eu-west-1")}
    assert variables["RATE"]["value"] == "$$(TZ) $$$$5"
    assert variables["AWS_LAMBDA_FUNCTION_VERSION"]["value"] == "$$LATEST"


@pytest.mark.parametrize(
    ("image", "settings"),
    [
        (FunctionImage("i"), {}),
        (FunctionImage("i", command=("a.b",)), {"args": ["a.b"]}),
        (FunctionImage("i", ("/run", "$HOME"), (), "/srv"), {
            "command": ["/run", "$$HOME"], "args": [], "workingDir": "/srv",
        }),
    ],
)  # fmt: skip
def test_only_what_is_given_replaces_the_images_own(image: FunctionImage, settings: dict[str, Any]) -> None:
    assert container_command(image) == settings


def test_how_the_node_gets_the_image() -> None:
    pull = PodSettings.model_validate({"imagePullPolicy": "Always", "imagePullSecrets": [{"name": "registry"}]})
    spec = build_pod(replace(REQUEST, pod=pull), "agent:1", PodDefaults("Never"))["spec"]
    assert [container["imagePullPolicy"] for container in spec["containers"]] == ["Never", "Always"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    plain = build_pod(REQUEST, "agent:1", PodDefaults())["spec"]
    assert "imagePullPolicy" not in plain["containers"][1]  # Kubernetes' own default, which goes by the tag
    assert "imagePullSecrets" not in plain


def _pod(phase: str, agent: str) -> dict[str, Any]:
    statuses = [
        {"name": "agent", "state": {agent: {}}},
        {"name": "function", "state": {"running": {}}, "resources": {"limits": {"memory": "256Mi"}}},
    ]
    return {"status": {"phase": phase, "containerStatuses": statuses}}


@pytest.mark.parametrize(
    ("pod", "over"),
    [
        (_pod("Running", "running"), False),
        (_pod("Running", "terminated"), True),
        (_pod("Failed", "terminated"), True),
        (_pod("Pending", "waiting"), False),
    ],
)
def test_an_instance_is_over_when_its_agent_is(pod: dict[str, Any], over: bool) -> None:
    assert is_over(pod) is over


def test_the_functions_container_is_found_among_the_others() -> None:
    assert granted_memory_mib(_pod("Running", "running")) == 256
