"""What OpenTelemetry's environment variables say.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/ and
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from funclet.core.sampling import ARGUMENT_VARIABLE, SAMPLER_VARIABLE, Sampler, parse_sampler
from funclet.errors import InvalidSpec

PROTOCOL = "http/protobuf"
DEFAULT_ENDPOINT = "http://localhost:4318"


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """Where spans go, and which ones. Seconds throughout."""

    endpoint: str
    """The URL that batches are posted to."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Credentials, mostly: never shown."""
    gzip: bool = False
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    timeout_seconds: float = 10.0
    """For one batch, with its retries."""
    delay_seconds: float = 5.0
    """A batch goes when it is full, or so long after its first span."""
    queue_size: int = 2048
    """Invocations, attempts and batches of messages whose spans may wait; more are dropped."""
    batch_size: int = 512
    """Spans in a batch; one invocation is never torn apart."""
    sampler: Sampler = field(default_factory=Sampler)
    resource: Mapping[str, str] = field(default_factory=dict)


def read_settings(environment: Mapping[str, str], service: str, instance: str) -> OtlpSettings | None:
    """The settings of this environment for a role, and its name among others of its kind.

    None: nothing is to be exported. Raises InvalidSpec.
    """
    variables = _Variables(environment)
    endpoint = variables.find_endpoint()
    if endpoint is None:
        return None
    protocol = variables.of_exporter("PROTOCOL")
    if protocol not in ("", PROTOCOL):
        raise InvalidSpec(f"must be {PROTOCOL}, the one protocol that is spoken here, not {protocol!r}",
                          field="OTEL_EXPORTER_OTLP_PROTOCOL")  # fmt: skip
    compression = variables.of_exporter("COMPRESSION")
    if compression not in ("", "none", "gzip"):
        raise InvalidSpec(f"must be gzip or none, not {compression!r}", field="OTEL_EXPORTER_OTLP_COMPRESSION")
    return OtlpSettings(
        endpoint=endpoint,
        headers=variables.read_headers(),
        gzip=compression == "gzip",
        tls=variables.read_tls(),
        timeout_seconds=variables.milliseconds("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
                                               variables.milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", 10.0)),
        delay_seconds=variables.milliseconds("OTEL_BSP_SCHEDULE_DELAY", 5.0),
        queue_size=variables.count("OTEL_BSP_MAX_QUEUE_SIZE", 2048),
        batch_size=variables.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
        sampler=parse_sampler(variables[SAMPLER_VARIABLE].lower(), variables[ARGUMENT_VARIABLE]),
        resource=variables.read_resource({"service.name": service, "service.instance.id": instance}),
    )  # fmt: skip


class _Variables:
    """The variables. An empty one counts as absent."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def __getitem__(self, name: str) -> str:
        return self._environment.get(name, "").strip()

    def of_exporter(self, name: str) -> str:
        """The variable for traces, or else the one for all signals."""
        return self["OTEL_EXPORTER_OTLP_TRACES_" + name] or self["OTEL_EXPORTER_OTLP_" + name]

    def find_endpoint(self) -> str | None:
        """The URL for traces as it is, or that for all signals with the path of traces."""
        exporter = self["OTEL_TRACES_EXPORTER"]
        if exporter not in ("", "otlp", "none"):
            raise InvalidSpec(f"must be otlp or none, not {exporter!r}", field="OTEL_TRACES_EXPORTER")
        if exporter == "none" or self["OTEL_SDK_DISABLED"].lower() == "true":
            return None
        own, common = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
        if self[own]:
            return _check_url(self[own], own)
        base = self[common] or (DEFAULT_ENDPOINT if exporter == "otlp" else "")
        return _check_url(base, common).rstrip("/") + "/v1/traces" if base else None

    def read_headers(self) -> dict[str, str]:
        """Those for all signals, and those for traces over them."""
        common, own = "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"
        return {**_read_pairs(self[common], common), **_read_pairs(self[own], own)}

    def read_resource(self, default: Mapping[str, str]) -> dict[str, str]:
        """What is said of the service."""
        variable, name = "OTEL_RESOURCE_ATTRIBUTES", self["OTEL_SERVICE_NAME"]
        return {**default, **_read_pairs(self[variable], variable), **({"service.name": name} if name else {})}

    def read_tls(self) -> ssl.SSLContext | None:
        """The certificates that are named; None: the system's."""
        authority, certificate, key = map(self.of_exporter, ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"))
        if not authority and not certificate:
            return None
        try:
            context = ssl.create_default_context(cafile=authority or None)
            if certificate:
                context.load_cert_chain(certificate, key or None)
        except OSError as error:
            raise InvalidSpec(f"cannot be used: {error}", field="OTEL_EXPORTER_OTLP_CERTIFICATE") from error
        return context

    def milliseconds(self, name: str, default_seconds: float) -> float:
        """A time, in seconds."""
        return self.count(name, round(default_seconds * 1000)) / 1000

    def count(self, name: str, default: int) -> int:
        """A whole number above zero."""
        text = self[name]
        if not text:
            return default
        if not text.isdecimal() or int(text) == 0:
            raise InvalidSpec(f"must be a whole number above 0, not {text!r}", field=name)
        return int(text)


def _check_url(url: str, name: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidSpec(f"must be a URL such as {DEFAULT_ENDPOINT}, not {url!r}", field=name)
    return url


def _read_pairs(text: str, name: str) -> dict[str, str]:
    """`key=value,key2=value2`; values are percent-encoded, as W3C's Baggage has them. The text is not shown."""
    pairs = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise InvalidSpec("must be key=value pairs with commas between them", field=name)
        pairs[unquote(key.strip())] = unquote(value.strip())
    return pairs
