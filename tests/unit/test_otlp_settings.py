"""OpenTelemetry's environment variables, and what is said of those that cannot be understood."""

from collections.abc import Mapping

import pytest

from funclet.adapters.otlp.settings import OtlpSettings, read_settings
from funclet.errors import InvalidSpec

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def read(environment: Mapping[str, str]) -> OtlpSettings:
    settings = read_settings(environment, "funclet-gateway", "gateway-1")
    assert settings is not None
    return settings


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        (ENDPOINT, "http://collector:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://otlp.example/intake/"}, "https://otlp.example/intake/v1/traces"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://jaeger:4318/x"}, "http://jaeger:4318/x"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318/v1/traces"),
    ],
)
def test_where_spans_go(environment: dict[str, str], endpoint: str) -> None:
    assert read(environment).endpoint == endpoint


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "true"},
        {"OTEL_SERVICE_NAME": "shop", "OTEL_TRACES_SAMPLER": "always_on"},
    ],
)
def test_when_nothing_is_exported(environment: dict[str, str]) -> None:
    assert read_settings(environment, "funclet-gateway", "gateway-1") is None


def test_the_defaults_are_those_of_the_specification() -> None:
    settings = read(ENDPOINT)
    assert (settings.timeout_seconds, settings.delay_seconds) == (10, 5)
    assert (settings.queue_size, settings.batch_size) == (2048, 512)
    assert settings.headers == {}
    assert settings.resource == {"service.name": "funclet-gateway", "service.instance.id": "gateway-1"}


def test_all_variables_are_heard() -> None:
    settings = read({
        **ENDPOINT,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20YTpi,x-scope=a",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-scope = b",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_BSP_MAX_QUEUE_SIZE": "10",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5",
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=staging,service.name=other",
        "OTEL_SERVICE_NAME": "shop",
    })  # fmt: skip
    assert settings.headers == {"authorization": "Basic YTpi", "x-scope": "b"}
    assert settings.gzip
    assert (settings.timeout_seconds, settings.delay_seconds) == (2.5, 0.2)
    assert (settings.queue_size, settings.batch_size) == (10, 5)
    assert (settings.sampler.bound, settings.sampler.parent_based) == ("4" + "0" * 15, False)
    assert settings.resource["service.name"] == "shop"
    assert settings.resource["deployment.environment.name"] == "staging"


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "must be otlp or none, not 'zipkin'"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "must be a URL such as http://localhost:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://collector", "not 'ftp://collector'"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "must be http/protobuf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "must be gzip or none, not 'zstd'"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "must be a whole number above 0, not '10s'"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "must be a whole number above 0, not '0'"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file", "cannot be used"),
        ("OTEL_RESOURCE_ATTRIBUTES", "staging", "must be key=value pairs"),
        ("OTEL_TRACES_SAMPLER", "xray", "must be one of always_on"),
    ],
)
def test_what_cannot_be_understood_is_named(variable: str, value: str, says: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        read({**ENDPOINT, variable: value})
    assert caught.value.field == variable
    assert says in caught.value.message


def test_credentials_are_not_shown() -> None:
    assert "hunter2" not in repr(read({**ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=hunter2"}))
    with pytest.raises(InvalidSpec) as caught:
        read({**ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS": "hunter2"})
    assert "hunter2" not in caught.value.message
