"""The chart's environment and the roles' settings name the same things, and mean the same by them."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from funclet.adapters.otlp.settings import read_settings as read_otlp_settings
from funclet.core.sampling import parse_sampler

if TYPE_CHECKING:
    from collections.abc import Callable

    Render = Callable[..., list[dict[str, Any]]]

ROLES = ("control", "scaler", "gateway", "events")
OF_THE_PROCESS = {"host", "reporter", "name", "listen_fd", "metrics_fd", "inbox_fd", "sibling_fds"}
"""Not settings of an installation: a pod listens on all its addresses, and names itself after its host name; a
supervisor gives its workers names and sockets."""
SECRETS = {
    "FUNCLET_INTERNAL_TOKEN": "t" * 48,
    "FUNCLET_INSTANCE_SECRET": "s" * 48,
    "FUNCLET_ACCESS_KEY_ID": "a" * 20,
    "FUNCLET_SECRET_ACCESS_KEY": "k" * 48,
}
EVERYTHING_ON = ('watchNamespace="shop"', "managementApi.enabled=true")
OF_THE_MANAGEMENT_API = {
    "control": {
        "FUNCLET_PORT", "FUNCLET_INTERNAL_TOKEN", "FUNCLET_ACCESS_KEY_ID",
        "FUNCLET_SECRET_ACCESS_KEY",
    },
    "gateway": {"FUNCLET_CONTROL_URL"},
}  # fmt: skip


def settings_model(role: str) -> Any:
    return getattr(importlib.import_module(f"funclet.{role}.settings"), f"{role.capitalize()}Settings")


def read_settings(role: str, given: dict[str, str]) -> Any:
    return settings_model(role).from_environment(given)


def environment(objects: list[dict[str, Any]], role: str) -> dict[str, str]:
    deployment = next(o for o in objects if o["kind"] == "Deployment" and o["metadata"]["name"] == f"funclet-{role}")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {item["name"]: item.get("value", SECRETS.get(item["name"], "")) for item in container["env"]}


@pytest.mark.parametrize("role", ROLES)
def test_the_chart_gives_every_setting_and_no_other(render: Render, role: str) -> None:
    given = environment(render(*EVERYTHING_ON), role)
    wanted = {f"FUNCLET_{name.upper()}" for name in settings_model(role).model_fields if name not in OF_THE_PROCESS}
    assert given.keys() == wanted


@pytest.mark.parametrize("role", ROLES)
def test_without_the_management_api_nothing_is_told_of_it(render: Render, role: str) -> None:
    on, off = environment(render(*EVERYTHING_ON), role), environment(render('watchNamespace="shop"'), role)
    assert on.keys() - off.keys() == OF_THE_MANAGEMENT_API.get(role, set())


@pytest.mark.parametrize("role", ROLES)
def test_the_roles_read_what_the_chart_gives(render: Render, role: str) -> None:
    settings = read_settings(role, environment(render(*EVERYTHING_ON), role))
    assert settings.watch_namespace == "shop"
    assert settings.metrics_port == 9090
    assert settings.log_level == "INFO"


def test_values_reach_their_settings(render: Render) -> None:
    objects = render(
        'region="eu-central-1"',
        'runtimes={"python3.13":"r.example/py313:1"}',
        'scaler={"warmPoolSize":0,"warmPoolMaximum":7,"warmPoolMemoryMib":512,"cpuRequestPercent":10,"imagePullPolicy":"Never"}',
        'gateway={"queueLimit":2000000,"queueTimeoutSeconds":2.5,"defaultNamespace":"shop","service":{"port":8000},'
        '"queueLimitMib":1,"bodyLimitMib":2000000,"clientLimit":3000000}',
        'nats={"url":"nats://nats.messaging:4222","streamReplicas":3}',
        'events={"sqsPolls":2000000,"asyncRetrySeconds":[0.5,2],"asyncResultSeconds":7200000,"deadLetterSeconds":60}',
    )
    scaler, gateway, events = (environment(objects, role) for role in ("scaler", "gateway", "events"))
    assert scaler["FUNCLET_WARM_POOL_SIZE"] == "0"
    assert scaler["FUNCLET_WARM_POOL_MAXIMUM"] == "7"
    assert scaler["FUNCLET_WARM_POOL_MEMORY_MIB"] == "512"
    assert scaler["FUNCLET_CPU_REQUEST_PERCENT"] == "10"
    assert json.loads(scaler["FUNCLET_RUNTIME_IMAGES"])["python3.13"] == "r.example/py313:1"
    assert scaler["FUNCLET_IMAGE_PULL_POLICY"] == "Never"
    assert gateway["FUNCLET_QUEUE_LIMIT"] == "2000000"
    assert gateway["FUNCLET_QUEUE_TIMEOUT_SECONDS"] == "2.5"
    assert gateway["FUNCLET_QUEUE_LIMIT_MIB"] == "1"
    assert gateway["FUNCLET_BODY_LIMIT_MIB"] == "2000000"
    assert gateway["FUNCLET_CLIENT_LIMIT"] == "3000000"
    assert gateway["FUNCLET_DEFAULT_NAMESPACE"] == "shop"
    assert gateway["FUNCLET_REGION"] == events["FUNCLET_REGION"] == "eu-central-1"
    assert events["FUNCLET_GATEWAY_URL"] == "http://funclet-gateway.funclet:8000"
    roles = (scaler, gateway, events)
    assert {role["FUNCLET_NATS_URL"] for role in roles} == {"nats://nats.messaging:4222"}
    settings = read_settings("events", events)
    assert settings.stream_replicas == 3
    assert settings.sqs_polls == 2000000
    assert settings.async_retry_seconds == (0.5, 2)
    assert settings.async_result_seconds == 7200000
    assert settings.dead_letter_seconds == 60


TRACING = (
    'tracing={"otlp":{"endpoint":"http://collector.observability:4318","existingHeadersSecret":"otlp"},'
    '"sampler":"parentbased_traceidratio","samplerArgument":0.01,"resourceAttributes":{"team":"a b, c=d","zone":"1"}}'
)


@pytest.mark.parametrize("role", ["gateway", "events"])
def test_where_spans_go_is_told_in_opentelemetrys_own_variables(render: Render, role: str) -> None:
    given = environment(render(TRACING), role)
    assert given.pop("OTEL_EXPORTER_OTLP_HEADERS") == ""  # it is in the Secret
    settings = read_otlp_settings(given, f"funclet-{role}", "")
    assert settings is not None
    assert settings.endpoint == "http://collector.observability:4318/v1/traces"
    assert settings.sampler == parse_sampler("parentbased_traceidratio", "0.01")
    assert settings.resource.items() >= {"team": "a b, c=d", "zone": "1"}.items()


@pytest.mark.parametrize("role", ROLES)
def test_who_makes_no_spans_is_told_nothing_of_them(render: Render, role: str) -> None:
    settings = (TRACING,) if role in ("control", "scaler") else ('tracing.sampler="always_on"',)
    assert not [name for name in environment(render(*settings), role) if name.startswith("OTEL_")]


def test_the_usage_journal_is_on_a_volume_that_outlives_the_container(render: Render) -> None:
    objects = render()
    assert environment(objects, "gateway")["FUNCLET_USAGE_JOURNAL"].startswith("/tmp/")
    deployment = next(o for o in objects if o["kind"] == "Deployment" and o["metadata"]["name"] == "funclet-gateway")
    spec = deployment["spec"]["template"]["spec"]
    assert {"name": "tmp", "mountPath": "/tmp"} in spec["containers"][0]["volumeMounts"]
    assert {"name", "emptyDir"} in [volume.keys() for volume in spec["volumes"]]
