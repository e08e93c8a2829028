"""The gateway role: the data plane."""

import asyncio
import contextlib
import hmac
import logging
import socket
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Protocol

from funclet.adapters.event_log import EventLog
from funclet.adapters.otlp.exporter import SpanExporter
from funclet.adapters.scaler_client import ScalerClient
from funclet.api.trigger import Trigger
from funclet.core.arn import account_id
from funclet.core.http_event import HttpAnswer, message_answer
from funclet.core.lambda_api import (
    MANAGEMENT_LIMIT_BYTES,
    LambdaError,
    Management,
    Target,
    answer_lost,
    request_too_large,
    unavailable,
)
from funclet.core.messages import FeedMessage, Peers
from funclet.core.qualifiers import AliasRoute
from funclet.core.revision import Revision
from funclet.gateway.asynchronous import Intake
from funclet.gateway.budget import Budget
from funclet.gateway.call import Acceptance, Call, Caller, Lookup, Relay, Request
from funclet.gateway.client import ClientProtocol
from funclet.gateway.demand import DemandReporter
from funclet.gateway.dispatch import Dispatcher
from funclet.gateway.door import Door
from funclet.gateway.handover import Handover
from funclet.gateway.http_stage import HttpStage, refusal
from funclet.gateway.identifiers import new_request_id
from funclet.gateway.instances import InstanceBook
from funclet.gateway.lambda_reply import error_answer
from funclet.gateway.lambda_stage import LambdaStage
from funclet.gateway.limits import Limits
from funclet.gateway.management import ManagementDoor
from funclet.gateway.peers import Neighbourhood
from funclet.gateway.plain import PlainReader
from funclet.gateway.refusals import Refusals
from funclet.gateway.settings import GatewaySettings
from funclet.gateway.tracing import Tracer

log = logging.getLogger(__name__)

MIB = 1024 * 1024
LINGERING_CLIENTS = 100
"""So many connections beyond the limit are open for the moment in which they are told."""
BACKLOG = 4096
SWEEP_SECONDS = 0.25
"""How late a timeout may be noticed. One sweep is cheaper than a timer for each call."""


class FunctionCatalog(Protocol):
    """What the gateway needs of `funclet.adapters.catalog.Catalog`."""

    functions: dict[str, Revision]
    triggers: dict[str, Trigger]
    aliases: dict[str, AliasRoute]
    pending: set[str]

    def on_function(self, callback: Callable[[str, Revision | None], None]) -> None:
        """Call back at each change of a function."""

    def on_trigger(self, callback: Callable[[str, Trigger | None], None]) -> None:
        """Call back at each change of a trigger."""


class Gateway:
    """Serves callers. The catalog is run by whoever made it; `port` is known after `start`.

    Without an event log asynchronous invocations are refused; with `spans` invocations are recorded.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        catalog: FunctionCatalog,
        scaler: ScalerClient,
        event_log: EventLog | None = None,
        limits: Limits | None = None,
        spans: SpanExporter | None = None,
    ) -> None:
        self.port = settings.port
        self.limits = limits or Limits()
        self.request_budget = Budget(settings.body_limit_mib * MIB)
        self.answer_budget = Budget(settings.body_limit_mib * MIB)
        self.stopping = False
        self.date_header = b""
        self.now = 0.0
        self.clients: set[ClientProtocol] = set()
        self.refusals = Refusals("caller")
        self._settings = settings
        self._catalog = catalog
        self._scaler = scaler
        self._neighbourhood: Neighbourhood | None = None
        self._door: Door | None = None
        self._handover: Handover | None = None
        self._event_log = event_log
        self._intake = Intake(event_log)
        self._management = ManagementDoor(settings.control_url, settings.internal_token, settings.default_namespace)
        self._tracer = None if spans is None else Tracer(spans, settings.region)
        self._accounts: dict[str, str] = {}
        self._deserted = asyncio.Event()
        self._events_authorization = f"Bearer {settings.internal_token}".encode()
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Whether callers should be sent here."""
        return self._server is not None and not self.stopping

    async def start(self) -> None:
        """Listen, and begin to follow the catalog and the scaler."""
        self.loop = asyncio.get_running_loop()
        settings = self._settings
        self._demand = DemandReporter(self._scaler.reporter, self._scaler.report, self._drained, self.loop)
        self._dispatcher = Dispatcher(self.loop, self._demand, settings, self.limits, self.answer_budget)
        self._book = InstanceBook(self._dispatcher, self._demand, self.loop, settings.region)
        functions, tracer = self._dispatcher.functions, self._tracer
        self._lambda = LambdaStage(settings, functions, self._catalog, self._accounts, tracer)
        self._http = HttpStage(functions, self._catalog, settings.region, tracer)
        self._follow_catalog()
        self._sweep()
        self.submit = self._dispatcher.submit
        if settings.peer_port is not None:
            await self._meet_others(settings.peer_port)
        self.plain = self.read_plain(None if self._neighbourhood is None else self._neighbourhood.serves)
        self._tasks = [
            self.loop.create_task(self._demand.run()),
            self.loop.create_task(self._scaler.follow(self._apply)),
        ]
        if self._event_log is not None:
            self._event_log.start()
        self._server = await self._listen()
        if self._handover is not None:
            self._handover.start()
        self.port = self._server.sockets[0].getsockname()[1]

    def read_plain(self, serves: Callable[[str, Caller], bool] | None) -> PlainReader:
        """A reader of plain invocations; `serves`: whether they begin here and now."""
        return PlainReader(self._lambda.find_plain, self._dispatcher.functions, serves, self.limits, self._tracer)

    async def _listen(self) -> asyncio.Server:
        settings = self._settings
        if settings.listen_fd is not None:
            return await self.loop.create_server(
                lambda: ClientProtocol(self), sock=socket.socket(fileno=settings.listen_fd), backlog=BACKLOG
            )
        return await self.loop.create_server(
            lambda: ClientProtocol(self), settings.host, settings.port, backlog=BACKLOG
        )

    async def _meet_others(self, port: int) -> None:
        settings = self._settings
        token, name = settings.internal_token, self._scaler.reporter
        if settings.inbox_fd is not None:
            self._handover = Handover(self, name, settings.inbox_fd, settings.sibling_fds)
        self._neighbourhood = Neighbourhood(self, self._dispatcher, name, token, self._handover)
        self._door = Door(self, self._neighbourhood, token)
        self._neighbourhood.port = await self._door.open(settings.host, port)
        self._scaler.introduce = self._neighbourhood.introduction
        self._demand.peer = self._neighbourhood.homes.me

    def _follow_catalog(self) -> None:
        self._catalog.on_function(self._change_function)
        self._catalog.on_trigger(lambda _key, _trigger: self._http.invalidate())
        for key, revision in self._catalog.functions.items():
            self._change_function(key, revision)

    def _change_function(self, key: str, revision: Revision | None) -> None:
        namespace = key.partition("/")[0]
        self._accounts[account_id(namespace)] = namespace
        self._book.change_function(key, revision)

    def _apply(self, message: FeedMessage) -> None:
        """The feed's outermost line: one bad message must not end it."""
        try:
            if not isinstance(message, Peers):
                self._book.apply(message)
            elif self._neighbourhood is not None:
                self._neighbourhood.apply(message)
        except Exception:
            log.exception("feed message not applied", extra={"type": message.type})

    def _drained(self, names: Iterable[str]) -> None:
        self._book.remove_all(names)

    async def stop(self) -> None:
        """Hand the functions over, take no new callers; let what runs end, for as long as the settings allow."""
        self.stopping = True
        self._demand.leave()
        await asyncio.sleep(self._settings.drain_seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.shutdown_seconds):
                await self._end_calls()
        self._sweeper.cancel()
        if self._door is not None and self._neighbourhood is not None:
            self._door.close()
            await self._neighbourhood.close()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for client in list(self.clients):
            client.abort()
        if self._handover is not None:
            self._handover.close()
        self._book.close()
        if self._event_log is not None:
            await self._event_log.close()
        await self._management.close()
        await self._scaler.close()

    async def _end_calls(self) -> None:
        """Until all callers have their answers, those of the other gateways too."""
        if self._neighbourhood is not None:
            await self._neighbourhood.handed_over()
        if self._server is not None:
            self._server.close()
        if self._neighbourhood is not None:
            await self._neighbourhood.entrust(self.clients)
        for client in list(self.clients):
            client.close_when_idle()
        while self.clients:
            self._deserted.clear()  # there may have been nobody for a moment before
            await self._deserted.wait()
        if self._door is not None:
            await self._door.idle()

    def handle(self, request: Request) -> None:
        """Answer a caller: here, or by the gateway that is the home of its function."""
        if self._neighbourhood is None or self._neighbourhood.is_here(request):
            self.serve(request)

    place = handle

    def serve(self, request: Request) -> None:
        """Route a request: the Lambda API by its path, HTTP triggers for all else."""
        authorization = request.fields.get(b"authorization", b"")
        trusted = authorization.startswith(b"Bearer ") and hmac.compare_digest(
            authorization, self._events_authorization
        )
        asked = self._read(request, trusted=trusted)
        match asked:
            case Call():
                request.call = asked
                self._dispatcher.submit(asked, any_length=trusted)
            case HttpAnswer():
                request.client.respond(request, asked)
            case Acceptance():
                self._intake.accept(request, asked)
            case Lookup():
                self._intake.find(request, asked)
            case Management():
                self._management.forward(request)

    def find_key(self, request: Request) -> str | None:
        """The function whose slots this request needs; None: it needs none."""
        if request.head:
            return self._lambda.find_plain_key(request.url)
        target = self._lambda.find_target(request.url)
        if target is None:
            return self._http.find_key(request)
        return self._lambda.find_key(request, target) if isinstance(target, Target) else None

    def refuse_relay(self, relay: Relay, *, delivered: bool) -> None:
        """The function's home does not answer, in the words of the API that was called."""
        request = relay.request
        if relay.begun:
            request.client.abort()
            return
        error = answer_lost() if delivered else unavailable("The gateway that serves this function cannot be reached.")
        if self._lambda.find_target(request.url) is None:
            request.client.respond(request, refusal(error))
        else:
            request.client.respond(request, error_answer(error, new_request_id()))

    def _read(self, request: Request, *, trusted: bool) -> Call | Acceptance | Lookup | Management | HttpAnswer:
        target = self._lambda.find_target(request.url)
        if target is None:
            return self._http.read(request)
        if isinstance(target, Management):
            return target
        if isinstance(target, LambdaError):
            return error_answer(target, new_request_id())
        return self._lambda.read(request, target, trusted=trusted)

    def abandon(self, request: Request) -> None:
        """The caller went away before its answer."""
        if self._neighbourhood is not None:
            self._neighbourhood.forget(request)
        call, request.call = request.call, None
        if call is not None:
            self._dispatcher.abandon(call)

    def throttle(self, request: Request, *, paused: bool) -> None:
        """The caller of a streamed answer does not read it: its instance waits."""
        if request.relay is not None and self._neighbourhood is not None:
            self._neighbourhood.throttle(request.relay, paused=paused)
        elif request.call is not None:
            self._dispatcher.throttle(request.call, paused=paused)

    def enter(self, client: ClientProtocol) -> HttpAnswer | None:
        """A new connection. Beyond the limit it is told so, unless it was let in before; far beyond, it is dropped."""
        self.clients.add(client)
        limit = self._settings.client_limit
        if len(self.clients) <= limit or client.moves:
            return None
        if len(self.clients) > limit + LINGERING_CLIENTS:
            client.abort()
        return error_answer(unavailable("Too many connections."), new_request_id())

    @property
    def is_full(self) -> bool:
        """Whether there are as many callers as there may be."""
        return len(self.clients) >= self._settings.client_limit

    def adopt(self, moves: int) -> ClientProtocol:
        """A caller's connection that another process of this machine hands over, not for the first time perhaps."""
        return ClientProtocol(self, moves)

    def leave(self, client: ClientProtocol) -> None:
        """A caller's connection is gone."""
        self.clients.discard(client)
        if self.stopping and not self.clients:
            self._deserted.set()

    def body_limit(self, url: bytes) -> int:
        """The most bytes of a body: code may be larger than events."""
        if self._settings.control_url is not None and isinstance(self._lambda.find_target(url), Management):
            return MANAGEMENT_LIMIT_BYTES
        return self.limits.body_bytes

    def too_large(self, url: bytes) -> HttpAnswer:
        """The answer to a body beyond the limit, in the words of the API that was called."""
        if self._lambda.find_target(url) is None:
            return message_answer(413, "Request Entity Too Large")
        return error_answer(request_too_large(self.body_limit(url)), new_request_id())

    def too_busy(self, url: bytes) -> HttpAnswer:
        """The answer to a body for which the gateway has no room now, in the words of the API that was called."""
        error = unavailable("The gateway holds as many bytes of payloads as it may.")
        if self._lambda.find_target(url) is None:
            return message_answer(503, "Service Unavailable", (("retry-after", str(error.retry_after_seconds)),))
        return error_answer(error, new_request_id())

    def _sweep(self) -> None:
        """Every quarter of a second: timeouts, and the date for the answers (RFC 9110, 6.6.1)."""
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)
        now = self.now = self.loop.time()
        self.date_header = f"date: {formatdate(usegmt=True)}\r\n".encode()
        self._dispatcher.sweep(now)
        for client in list(self.clients):
            client.sweep(now)
