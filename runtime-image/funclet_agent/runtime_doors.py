"""Who may ask a runtime's slot for what: the gateway's door, and the door of the Runtime and Extensions API."""

from typing import Protocol

from funclet_agent import runtime_api
from funclet_agent.connections import MAX_BODY_BYTES
from funclet_agent.extensions import RefusedError
from funclet_agent.http_server import Exchange
from funclet_agent.marshalling import MAX_ANSWER_BYTES
from funclet_agent.streaming import is_stream
from funclet_agent.telemetry_subscription import LOGS_API, TELEMETRY_API, Api
from funclet_agent.tokens import TokenCheck


class Invocations(Protocol):
    """Whoever takes the gateway's requests."""

    def submit(self, exchange: Exchange) -> None:
        """An invocation; the answer may take as long as it takes."""


class GatewayDoor:
    """POST /invoke with the instance's token."""

    def __init__(self, slot: Invocations, token: TokenCheck) -> None:
        self._slot = slot
        self._token = token

    def begin(self, exchange: Exchange) -> None:
        """Refuse strangers before they can make us hold a body."""
        head = exchange.head
        if not self._token.accepts(head.headers.get(b"x-funclet-token", b"")):
            exchange.respond(401, b'{"message":"wrong token"}', close=True)
            return
        exchange.prove()
        exchange.body_limit = MAX_BODY_BYTES
        if (head.method, head.target) != (b"POST", b"/invoke"):
            exchange.respond(404, b'{"message":"only POST /invoke is served here"}', close=True)

    def end(self, exchange: Exchange) -> None:
        """The event is complete."""
        if exchange.too_long:
            exchange.respond(400, b'{"message":"the body must not exceed %d bytes"}' % MAX_BODY_BYTES, close=True)
        else:
            self._slot.submit(exchange)

    def lost(self, exchange: Exchange) -> None:
        """The function runs on; nobody will hear its answer."""


class Sandboxed(Protocol):
    """Whoever serves the programs of one execution environment."""

    def runtime_next(self, exchange: Exchange) -> None:
        """The runtime is ready for an invocation."""

    def runtime_response(self, exchange: Exchange, request_id: str) -> None:
        """The runtime's answer."""

    def runtime_stream(self, exchange: Exchange, request_id: str) -> None:
        """The runtime's answer begins, bit by bit."""

    def runtime_error(self, exchange: Exchange, request_id: str) -> None:
        """The function has failed."""

    def runtime_init_error(self, exchange: Exchange) -> None:
        """The runtime cannot start."""

    def extension_register(self, exchange: Exchange) -> None:
        """An extension introduces itself."""

    def extension_next(self, exchange: Exchange) -> None:
        """An extension is ready for an event."""

    def extension_subscribe(self, exchange: Exchange, api: Api) -> None:
        """An extension wants to hear of what happens."""

    def extension_error(self, exchange: Exchange) -> None:
        """An extension gives up."""

    def runtime_lost(self, exchange: Exchange) -> None:
        """Whoever waited for an event is gone."""


class ApiDoor:
    """The Runtime API and the Extensions API on 127.0.0.1."""

    def __init__(self, environment: Sandboxed) -> None:
        self._environment = environment

    def begin(self, exchange: Exchange) -> None:
        """Only what is inside the instance gets here. One byte more than is allowed tells the difference."""
        exchange.prove()
        exchange.body_limit = MAX_ANSWER_BYTES
        if is_stream(exchange.head.headers):
            route = runtime_api.find_route(exchange.head.method, exchange.head.target)
            if route is not None and route.kind == runtime_api.RESPONSE:
                self._environment.runtime_stream(exchange, route.request_id)

    def end(self, exchange: Exchange) -> None:
        """Call whom it is for."""
        route = runtime_api.find_route(exchange.head.method, exchange.head.target)
        try:
            if route is None:
                exchange.respond(404, runtime_api.error_body("NotFound", "404 page not found"))
            elif route.kind in (runtime_api.RESPONSE, runtime_api.ERROR, runtime_api.NEXT, runtime_api.INIT_ERROR):
                self._runtime(exchange, route)
            else:
                self._extension(exchange, route)
        except RefusedError as error:
            exchange.respond(error.status, error.body)

    def _runtime(self, exchange: Exchange, route: runtime_api.Route) -> None:
        if route.kind == runtime_api.NEXT:
            self._environment.runtime_next(exchange)
        elif route.kind == runtime_api.RESPONSE:
            self._environment.runtime_response(exchange, route.request_id)
        elif route.kind == runtime_api.ERROR:
            self._environment.runtime_error(exchange, route.request_id)
        else:
            self._environment.runtime_init_error(exchange)

    def _extension(self, exchange: Exchange, route: runtime_api.Route) -> None:
        if route.kind == runtime_api.REGISTER:
            self._environment.extension_register(exchange)
        elif route.kind == runtime_api.EVENT_NEXT:
            self._environment.extension_next(exchange)
        elif route.kind in (runtime_api.TELEMETRY, runtime_api.LOGS):
            self._environment.extension_subscribe(
                exchange, TELEMETRY_API if route.kind == runtime_api.TELEMETRY else LOGS_API
            )
        else:
            self._environment.extension_error(exchange)

    def lost(self, exchange: Exchange) -> None:
        """It waited for something."""
        self._environment.runtime_lost(exchange)
