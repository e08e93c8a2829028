"""What an extension asks of the Telemetry API, or of the Logs API that was before it. No I/O.

Sources: AWS's pages "Lambda Telemetry API reference" (2022-07-01) and "Lambda Logs API" (2020-08-15).
"""

import json
from typing import Any
from urllib.parse import urlsplit

from funclet_agent.extensions import RefusedError

PLATFORM, FUNCTION, EXTENSION = "platform", "function", "extension"
TYPES = (PLATFORM, FUNCTION, EXTENSION)
BUFFERING = {
    "maxItems": (10_000, 1_000, 10_000),
    "maxBytes": (262_144, 262_144, 1_048_576),
    "timeoutMs": (1_000, 25, 30_000),
}
"""Default, least and greatest value of each."""
OWN_HOSTS = ("sandbox.localdomain", "sandbox", "127.0.0.1", "localhost")
"""On Lambda the first alone. All are the environment itself."""
RESERVED_PORT = 9001
LOGS_ALONE = frozenset({"platform.end", "platform.logsSubscription"})
NOT_IN_LOGS = frozenset(
    {"platform.initStart", "platform.initRuntimeDone", "platform.initReport", "platform.telemetrySubscription"}
)


class Api:
    """One of the two, and which events each version of its schema leaves out."""

    def __init__(self, name: str, error: str, left_out: dict[str, frozenset[str]], default_version: str = "") -> None:
        self.name = name
        self.error = error
        """The type of an error in a request."""
        self.left_out = left_out
        self.default_version = default_version
        """Empty where the request must name one."""
        self.subscribed = f"platform.{name.lower()}Subscription"
        """The event that tells of a subscription."""

    def closed(self) -> RefusedError:
        """The init phase is over."""
        return RefusedError(f"{self.name}.SubscriptionClosed", f"{self.name} API subscription is closed already")

    def taken(self, extension: str, other: str) -> RefusedError:
        """The extension has a subscription to the other one."""
        message = f"{extension} is subscribed to the {other} API already; take one of Logs and Telemetry API"
        return RefusedError(f"{self.name}.AccessDenied", message, 400)


TELEMETRY_API = Api(
    "Telemetry", "ValidationError", dict.fromkeys(("2022-07-01", "2022-12-13", "2025-01-29"), LOGS_ALONE)
)
LOGS_API = Api(
    "Logs",
    "Logs.ValidationError",
    {"2020-08-15": NOT_IN_LOGS | {"platform.runtimeDone"}, "2021-03-18": NOT_IN_LOGS},
    default_version="2020-08-15",
)


class Subscription:
    """A request that is in order."""

    def __init__(self, api: Api, request: dict[str, Any], port: int, path: str) -> None:
        destination, buffering = request["destination"], request.get("buffering", {})
        self.api = api
        self.types: list[str] = request["types"]
        self.is_http = destination["protocol"] == "HTTP"
        """POST of a JSON array; else lines of JSON by TCP."""
        self.method = str(destination.get("method", "POST"))
        self.port = port
        self.path = path
        self.max_items = int(buffering.get("maxItems", BUFFERING["maxItems"][0]))
        self.max_bytes = int(buffering.get("maxBytes", BUFFERING["maxBytes"][0]))
        self.timeout_ns = int(buffering.get("timeoutMs", BUFFERING["timeoutMs"][0])) * 1_000_000
        self._left_out = api.left_out[request.get("schemaVersion", api.default_version)]
        self.identity = json.dumps(request, sort_keys=True)
        """The same for the same request."""

    def takes(self, kind: str) -> bool:
        """Whether it is for events of this type, as platform.start or function."""
        return kind.partition(".")[0] in self.types and kind not in self._left_out

    def frame(self, events: list[bytes]) -> bytes:
        """One delivery."""
        return b"[" + b",".join(events) + b"]" if self.is_http else b"\n".join(events) + b"\n"


def read_subscription(body: bytes, api: Api) -> Subscription:
    """Raises RefusedError with all that is wrong."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(api.error, f"the body is not JSON: {error}", 400) from error
    if not isinstance(request, dict):
        raise RefusedError(api.error, "the body must be a JSON object", 400)
    faults: list[str] = []
    port, path = _check_destination(request.get("destination"), faults)
    _check_types(request.get("types"), faults)
    _check_buffering(request.get("buffering", {}), faults)
    version = request.get("schemaVersion", api.default_version)
    if not isinstance(version, str) or version not in api.left_out:
        faults.append(f"schemaVersion should be one of {', '.join(api.left_out)}, not {version!r}")
    if faults:
        raise RefusedError(api.error, "; ".join(faults), 400)
    return Subscription(api, request, port, path)


def _check_destination(destination: object, faults: list[str]) -> tuple[int, str]:
    if not isinstance(destination, dict):
        faults.append("destination should be an object with protocol and URI")
        return 0, ""
    protocol = destination.get("protocol")
    if protocol not in ("HTTP", "TCP"):
        faults.append(f"protocol should be HTTP or TCP, not {protocol!r}")
    if destination.get("method", "POST") not in ("POST", "PUT"):
        faults.append(f"method should be POST or PUT, not {destination['method']!r}")
    port, path = _read_port(destination) if protocol == "TCP" else _read_uri(destination.get("URI"), faults)
    if port == RESERVED_PORT:
        faults.append(f"port {RESERVED_PORT} is reserved")
    elif not isinstance(port, int) or not 1 <= port <= 65_535:
        faults.append("URI port is not provided" if protocol == "HTTP" else f"port should be 1 to 65535, not {port!r}")
    return port, path


def _read_port(destination: dict[str, Any]) -> tuple[Any, str]:
    """Of TCP: a port of its own, or that of a URI."""
    if "port" in destination:
        return destination["port"], ""
    return _read_uri(destination.get("URI"), [])


def _read_uri(uri: object, faults: list[str]) -> tuple[int, str]:
    try:
        parts = urlsplit(uri if isinstance(uri, str) else "")
        port = parts.port or 0
    except ValueError:
        faults.append(f"URI {uri!r} is none")
        return 0, ""
    if parts.scheme != "http":
        faults.append("URI should begin with http://")
    if parts.hostname not in OWN_HOSTS:
        faults.append(f"URI host should be {OWN_HOSTS[0]}, not {parts.hostname!r}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or any(letter <= " " for letter in path):
        faults.append("URI path should be percent-encoded")
    return port, path


def _check_types(types: object, faults: list[str]) -> None:
    if not isinstance(types, list) or not types:
        faults.append("types should not be empty")
    elif unknown := [kind for kind in types if kind not in TYPES]:
        faults.append(f"types should be of {', '.join(TYPES)}, not {unknown[0]!r}")
    elif len(set(types)) < len(types):
        faults.append("types should be unique")


def _check_buffering(buffering: object, faults: list[str]) -> None:
    if not isinstance(buffering, dict):
        faults.append("buffering should be an object")
        return
    for name, (default, least, greatest) in BUFFERING.items():
        value = buffering.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= greatest:
            faults.append(f"{name} should be between {least} and {greatest}, not {value!r}")
