"""Lambda extensions of one execution environment: who registered for what, and who has asked for the next event.

External extensions are programs in /opt/extensions, started before the runtime; internal ones live in the runtime's
process and register under any other name before its first /next.
"""

import json
import os
from collections.abc import Iterator

from funclet_agent.http_server import Exchange
from funclet_agent.runtime_api import error_body
from funclet_agent.specialisation import Specialisation

INVOKE, SHUTDOWN = "INVOKE", "SHUTDOWN"
MAX_EXTENSIONS = 10
"""Lambda's quota for each function."""

IDENTIFIER_HEADER = b"lambda-extension-identifier"
NAME_HEADER = b"lambda-extension-name"
ERROR_TYPE_HEADER = b"lambda-extension-function-error-type"
ACCEPT_HEADER = b"lambda-extension-accept-feature"


class RefusedError(Exception):
    """The answer to a request that cannot be granted; `body` says why."""

    def __init__(self, kind: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(kind, message)


class Extension:
    """One that was started, or has registered from inside the runtime."""

    def __init__(self, name: str, *, external: bool) -> None:
        self.name = name
        self.external = external
        self.identifier = ""
        """Empty until it registers."""
        self.events: frozenset[str] = frozenset()
        self.has_asked = False
        """It has asked for an event: it is initialised."""
        self._exchange: Exchange | None = None
        self._event: bytes | None = None
        """What it gets when it asks."""

    @property
    def is_waiting(self) -> bool:
        """Whether it has asked for the next event and has not got one."""
        return self._exchange is not None

    def wait(self, exchange: Exchange) -> None:
        """It asks for the next event."""
        self.has_asked = True
        self._exchange = exchange
        if self._event is not None:
            self.give(self._event)

    def give(self, event: bytes) -> None:
        """The next event: now if it waits, else when it asks."""
        exchange, self._exchange = self._exchange, None
        self._event = event if exchange is None else None
        if exchange is not None:
            headers = b"Lambda-Extension-Event-Identifier: %s\r\n" % new_identifier().encode()
            exchange.respond(200, event, headers)

    def forget(self, exchange: Exchange) -> None:
        """It has hung up, if that was its exchange."""
        if self._exchange is exchange:
            self._exchange = None

    def wants(self, event: str) -> bool:
        """Whether it registered for this kind of event."""
        return event in self.events


class Extensions:
    """All of them."""

    def __init__(self, external_names: list[str]) -> None:
        self._by_name = {name: Extension(name, external=True) for name in external_names}
        self.closed = False
        """The runtime has asked for its first invocation: nobody registers any more."""

    def __iter__(self) -> Iterator[Extension]:
        return iter(list(self._by_name.values()))

    @property
    def all_registered(self) -> bool:
        """Whether the runtime may be started."""
        return all(extension.identifier for extension in self._by_name.values())

    @property
    def all_ready(self) -> bool:
        """Whether each one has asked for the next event: it is done with the last one."""
        return all(extension.is_waiting for extension in self._by_name.values())

    def register(self, headers: dict[bytes, bytes], body: bytes) -> Extension:
        """POST /extension/register."""
        name = headers.get(NAME_HEADER, b"").decode("latin-1")
        if not name:
            raise RefusedError("Extension.InvalidExtensionName", "Empty extension name")
        events = _read_events(body)
        extension = self._by_name.get(name) or self._new_internal(name)
        if extension.identifier:
            raise RefusedError("Extension.InvalidExtensionState", "Extension with this name already registered")
        for event in sorted(events):
            _check_event(event, extension)
        self._by_name[name] = extension
        extension.identifier = new_identifier()
        extension.events = events
        return extension

    def _new_internal(self, name: str) -> Extension:
        if self.closed:
            raise RefusedError("Extension.RegistrationClosed", "Extension registration closed already")
        if len(self._by_name) >= MAX_EXTENSIONS:
            raise RefusedError("Extension.TooManyExtensions", f"Extension limit ({MAX_EXTENSIONS}) reached")
        return Extension(name, external=False)

    def identify(self, headers: dict[bytes, bytes]) -> Extension:
        """Who asks, by the identifier that it got when it registered."""
        identifier = headers.get(IDENTIFIER_HEADER, b"").decode("latin-1")
        if not identifier:
            raise RefusedError("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
        for extension in self._by_name.values():
            if extension.identifier == identifier:
                return extension
        raise RefusedError("Extension.UnknownExtensionIdentifier", f"Unknown extension {identifier}")


def find_programs(folder: str) -> list[str]:
    """The names of the external extensions: files, in Lambda's alphabetical order."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_file())
    except OSError:
        return []


def registration(spec: Specialisation, accepted: bytes) -> bytes:
    """The answer to a registration; the account only for who accepts the feature."""
    facts = {"functionName": spec.name, "functionVersion": spec.function_version, "handler": spec.handler}
    if b"accountId" in accepted.replace(b",", b" ").split():
        facts["accountId"] = spec.function_arn.split(":")[4]
    return json.dumps(facts).encode()


def invoke_event(invoked_arn: str, request_id: str, deadline_ms: int, trace_id: str) -> bytes:
    """INVOKE as an extension gets it."""
    event = {
        "eventType": INVOKE,
        "deadlineMs": deadline_ms,
        "requestId": request_id,
        "invokedFunctionArn": invoked_arn,
        "tracing": {"type": "X-Amzn-Trace-Id", "value": trace_id},
    }
    return json.dumps(event).encode()


def shutdown_event(reason: str, deadline_ms: int) -> bytes:
    """SHUTDOWN; the reason is spindown, timeout or failure."""
    return json.dumps({"eventType": SHUTDOWN, "shutdownReason": reason, "deadlineMs": deadline_ms}).encode()


def _read_events(body: bytes) -> frozenset[str]:
    try:
        events = json.loads(body or b"{}").get("events") or []
        if isinstance(events, list) and all(isinstance(event, str) for event in events):
            return frozenset(events)
    except (ValueError, AttributeError):
        pass
    raise RefusedError("InvalidRequestFormat", 'the body must be {"events": ["INVOKE", "SHUTDOWN"]}')


def _check_event(event: str, extension: Extension) -> None:
    if event == SHUTDOWN and not extension.external:
        raise RefusedError("Extension.InvalidEventType", f"{event}: ShutdownEventNotSupportedForInternalExtension")
    if event not in (INVOKE, SHUTDOWN):
        raise RefusedError("Extension.InvalidEventType", f"{event}: InvalidEventType")


def new_identifier() -> str:
    digits = os.urandom(16).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
