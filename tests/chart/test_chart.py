"""What the chart renders: with its defaults, with every value changed, with zeros, and that it refuses typos."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from funclet.adapters.nats_server import find_binary

if TYPE_CHECKING:
    from collections.abc import Callable

    Render = Callable[..., list[dict[str, Any]]]
    Helm = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("control", "scaler", "gateway", "events")
EVERYTHING = (
    'image={"repository":"r.example/operator","tag":"t1","pullPolicy":"Always"}',
    'imagePullSecrets=[{"name":"registry"}]',
    'watchNamespace="shop"',
    'region="eu-central-1"',
    'logLevel="DEBUG"',
    'runtimes={"python3.11":"r.example/py311:1","python3.13":"r.example/py313:1"}',
    'control={"replicas":0,"nodeSelector":{"zone":"a"},"tolerations":[{"key":"k","operator":"Exists"}]}',
    'scaler={"replicas":0,"warmPoolSize":0,"imagePullPolicy":"Never"}',
    'gateway={"replicas":3,"processes":2,"drainSeconds":0,"defaultNamespace":"shop","queueLimit":0,"queueTimeoutSeconds":2.5,'
    '"service":{"type":"NodePort","port":8000,"nodePort":30080,"annotations":{"a":"b"}}}',
    'events={"replicas":0,"stopSeconds":0,"asyncRetrySeconds":[0,0.5],"asyncResultSeconds":900}',
    'nats={"replicas":1,"image":"nats:2","maxPayload":"1MB","persistence":{"size":"1Gi","storageClassName":"fast"}}',
    'metrics={"scrapeAnnotations":false,"podMonitor":{"enabled":true,"interval":"5s","labels":{"release":"p"}}}',
    'tracing={"otlp":{"endpoint":"http://collector:4318"},"samplerArgument":0,"resourceAttributes":{"a":"b"}}',
    'managementApi={"enabled":true,"existingKeySecret":"key"}',
    'networkPolicy={"enabled":true,"natsNamespaces":[{"kubernetes.io/metadata.name":"shop"}]}',
)


def named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name)


def pods(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [o["spec"]["template"]["spec"] for o in objects if o["kind"] in {"Deployment", "StatefulSet"}]


def test_lint_finds_nothing(helm: Helm) -> None:
    linted = helm("lint", "--strict")
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("settings", [(), EVERYTHING], ids=["defaults", "everything"])
def test_every_pod_is_restricted_and_states_its_needs(render: Render, settings: tuple[str, ...]) -> None:
    for pod in pods(render(*settings)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("gateway.replcas=1", "replcas"),
        ('logLevel="LOUD"', "logLevel"),
        ("scaler.replicas=2", "replicas"),
        ("gateway.service.nodePort=80", "nodePort"),
        ('tracing.otlp.endpoint="collector:4318"', "endpoint"),
        ('tracing.sampler="sometimes"', "sampler"),
        ("tracing.samplerArgument=2", "samplerArgument"),
        ('nats.url="10.0.0.1:4222"', "url"),
        ("surprise=true", "surprise"),
    ],
)
def test_the_schema_refuses(helm: Helm, setting: str, complaint: str) -> None:
    refused = helm("template", "--set-json", setting)
    assert refused.returncode != 0
    assert complaint in refused.stderr


def test_the_schema_knows_every_value() -> None:
    schema = json.loads((ROOT / "helm/funclet/values.schema.json").read_text())
    values = yaml.safe_load((ROOT / "helm/funclet/values.yaml").read_text())
    assert schema["properties"].keys() - {"global"} == values.keys()


@pytest.mark.parametrize("role", ROLES)
def test_zero_replicas_is_a_value(render: Render, role: str) -> None:
    assert named(render(f"{role}.replicas=0"), "Deployment", f"funclet-{role}")["spec"]["replicas"] == 0


def test_several_gateways_get_a_disruption_budget_and_one_gets_none(render: Render) -> None:
    budget = named(render("gateway.replicas=2"), "PodDisruptionBudget", "funclet-gateway")
    assert budget["spec"]["maxUnavailable"] == 1
    gateway = named(render("gateway.replicas=2"), "Deployment", "funclet-gateway")["spec"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= gateway["template"]["metadata"]["labels"].items()
    assert not [o for o in render("gateway.replicas=1") if o["kind"] == "PodDisruptionBudget"]


def test_gateways_reach_each_other_and_nobody_else_does(render: Render) -> None:
    policy = named(render("networkPolicy.enabled=true", "gateway.processes=3"), "NetworkPolicy", "funclet-gateway")
    callers, gateways = policy["spec"]["ingress"]
    assert "from" not in callers
    assert gateways["from"] == [{"podSelector": policy["spec"]["podSelector"]}]
    assert gateways["ports"] == [{"protocol": "TCP", "port": 8082, "endPort": 8084}]


def test_the_single_writers_are_recreated(render: Render) -> None:
    objects = render()
    for role in ("control", "scaler"):
        assert named(objects, "Deployment", f"funclet-{role}")["spec"]["strategy"] == {"type": "Recreate"}


def test_the_crds_are_the_generated_ones_and_kept_on_uninstall(render: Render) -> None:
    generated = {file.name: yaml.safe_load(file.read_text()) for file in (ROOT / "crds").glob("*.yaml")}
    objects = [o for o in render() if o["kind"] == "CustomResourceDefinition"]
    assert len(objects) == len(generated) == 4
    for crd in objects:
        assert crd["metadata"]["annotations"].pop("helm.sh/resource-policy") == "keep"
    assert {o["metadata"]["name"]: o["spec"] for o in objects} == {
        o["metadata"]["name"]: o["spec"] for o in generated.values()
    }
    assert not [o for o in render("crds.install=false") if o["kind"] == "CustomResourceDefinition"]


def test_the_charts_own_nats_syncs_unless_it_should_not(render: Render) -> None:
    for setting, wanted in (("nats.syncAlways=true", "always"), ("nats.syncAlways=false", "2m")):
        config = named(render(setting), "ConfigMap", "funclet-nats")["data"]["nats.conf"]
        assert f'sync_interval: "{wanted}"\n' in config


def test_three_nats_servers_are_a_cluster_and_nats_takes_every_configuration(render: Render, tmp_path: Path) -> None:
    objects = render("nats.replicas=3", "networkPolicy.enabled=true")
    config = named(objects, "ConfigMap", "funclet-nats")["data"]["nats.conf"]
    for number in range(3):
        name = f"funclet-nats-{number}"
        service = named(objects, "Service", name)["spec"]
        assert service["selector"] == {"statefulset.kubernetes.io/pod-name": name}
        assert service["publishNotReadyAddresses"] is True
        assert f"nats://{name}:6222\n" in config
    assert named(objects, "StatefulSet", "funclet-nats")["spec"]["podManagementPolicy"] == "Parallel"
    for number, setting in enumerate(("nats.replicas=1", "nats.replicas=3", "nats.syncAlways=false")):
        file = tmp_path / f"{number}.conf"
        file.write_text(named(render(setting), "ConfigMap", "funclet-nats")["data"]["nats.conf"])
        environment = {**os.environ, "POD_NAME": "funclet-nats-0"}
        checked = subprocess.run([find_binary(), "-t", "-c", file], env=environment, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("nats", "replicas"),
    [
        ({}, "1"),
        ({"replicas": 3}, "3"),
        ({"replicas": 3, "streamReplicas": 1}, "1"),
        ({"url": "nats://x:4222"}, "1"),
        ({"url": "nats://x:4222", "streamReplicas": 3}, "3"),
    ],
)
def test_events_are_held_by_all_of_the_charts_servers(render: Render, nats: dict[str, Any], replicas: str) -> None:
    objects = render(f"nats={json.dumps(nats)}")
    [container] = named(objects, "Deployment", "funclet-events")["spec"]["template"]["spec"]["containers"]
    assert {"name": "FUNCLET_STREAM_REPLICAS", "value": replicas} in container["env"]


def test_an_external_nats_replaces_the_charts_own(render: Render) -> None:
    for setting in ('nats.url="nats://nats.messaging:4222"', 'nats.existingUrlSecret="nats"'):
        assert not [o for o in render(setting) if o["metadata"]["name"] == "funclet-nats"]


def test_rights_stay_in_the_watched_namespace(render: Render) -> None:
    objects = render('watchNamespace="shop"')
    bindings = [o for o in objects if o["kind"] == "RoleBinding"]
    assert {o["metadata"]["name"] for o in bindings} == {f"funclet-{role}" for role in ROLES}
    assert {o["metadata"]["namespace"] for o in bindings} == {"shop"}
    assert [o["metadata"]["name"] for o in objects if o["kind"] == "ClusterRoleBinding"] == [
        "funclet-control-discovery"
    ]


@pytest.mark.parametrize("role", ["gateway", "events"])
def test_the_data_plane_only_reads_our_own_resources(render: Render, role: str) -> None:
    rights = named(render(), "ClusterRole", f"funclet-{role}")["rules"]
    resources = ["functions", "versions", "aliases", "triggers"]
    ours = {"apiGroups": ["funclet.dev"], "resources": resources, "verbs": ["get", "list", "watch"]}
    credentials_of_queues = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    assert rights == [ours, *([credentials_of_queues] if role == "events" else [])]


def test_control_may_write_resources_only_for_the_management_api(render: Render) -> None:
    def writing(*settings: str) -> list[dict[str, Any]]:
        rules = named(render(*settings), "ClusterRole", "funclet-control")["rules"]
        return [rule for rule in rules if "create" in rule["verbs"] and rule["apiGroups"] == ["funclet.dev"]]

    assert writing() == []
    assert writing("managementApi.enabled=true") == [
        {
            "apiGroups": ["funclet.dev"],
            "resources": ["functions", "versions", "aliases", "triggers"],
            "verbs": ["create", "update", "delete"],
        }
    ]


def test_only_gateways_reach_the_management_api(render: Render) -> None:
    objects = render("managementApi.enabled=true", "networkPolicy.enabled=true")
    (gateways, everybody) = named(objects, "NetworkPolicy", "funclet-control")["spec"]["ingress"]
    labels = gateways["from"][0]["podSelector"]["matchLabels"]
    assert (
        labels.items()
        <= named(objects, "Deployment", "funclet-gateway")["spec"]["template"]["metadata"]["labels"].items()
    )
    assert gateways["ports"] == [{"port": "http"}]
    assert everybody == {"ports": [{"port": "metrics"}]}
    service = named(objects, "Service", "funclet-control")["spec"]
    assert service["ports"] == [{"name": "http", "port": 8083, "targetPort": "http"}]


def test_the_management_apis_key_is_made_unless_given(render: Render) -> None:
    made = named(render("managementApi.enabled=true"), "Secret", "funclet-management-key")["data"]
    assert {name: len(base64.b64decode(value)) for name, value in made.items()} == {
        "access-key-id": 20,
        "secret-access-key": 48,
    }
    given = render('managementApi={"enabled":true,"existingKeySecret":"mine"}')
    assert not [o for o in given if o["metadata"]["name"] == "funclet-management-key"]
    (control,) = named(given, "Deployment", "funclet-control")["spec"]["template"]["spec"]["containers"]
    names = [e["valueFrom"]["secretKeyRef"]["name"] for e in control["env"] if "ACCESS_KEY" in e["name"]]
    assert names == ["mine", "mine"]


def test_secrets_are_made_unless_given(render: Render) -> None:
    assert {o["metadata"]["name"] for o in render() if o["kind"] == "Secret"} == {
        "funclet-internal",
        "funclet-instances",
    }
    given = render('secrets={"existingInternalSecret":"a","existingInstanceSecret":"b"}')
    assert not [o for o in given if o["kind"] == "Secret"]


def test_only_the_scaler_holds_the_instances_secret(render: Render) -> None:
    holders = [
        pod["containers"][0]["name"]
        for pod in pods(render())
        if any(v["name"] == "FUNCLET_INSTANCE_SECRET" for v in pod["containers"][0].get("env", []))
    ]
    assert holders == ["scaler"]
