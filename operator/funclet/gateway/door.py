"""The other gateways' way in: requests whose function has its home here, and notes."""

import asyncio
import dataclasses
import hmac
import logging
from collections.abc import Callable
from typing import Protocol

from pydantic import ValidationError

from funclet.core.http_event import HttpAnswer, message_answer
from funclet.core.messages import PeerNote
from funclet.gateway.budget import Budget
from funclet.gateway.call import Call, Caller, Request
from funclet.gateway.client import ClientProtocol
from funclet.gateway.limits import Limits
from funclet.gateway.notes import NOTE_PATH
from funclet.gateway.peers import Neighbourhood
from funclet.gateway.plain import PlainReader
from funclet.gateway.refusals import Refusals
from funclet.gateway.relay import NOT_HOME, PASSED_OVER, SOURCE, TOKEN

log = logging.getLogger(__name__)

OWN_HEADERS_BYTES = 4096
"""Beside those of the caller."""
OWN_HEADERS = 8
IDLE_LOOK_SECONDS = 0.05


class Owner(Protocol):
    """What the door needs of the gateway."""

    answer_budget: Budget
    request_budget: Budget
    date_header: bytes
    limits: Limits
    loop: asyncio.AbstractEventLoop
    now: float

    def find_key(self, request: Request) -> str | None:
        """The function that this request invokes."""

    def read_plain(self, serves: Callable[[str, Caller], bool]) -> PlainReader:
        """A reader of plain invocations; `serves`: whether they begin here and now."""

    def submit(self, call: Call) -> None:
        """Answer a plain invocation here."""

    def serve(self, request: Request) -> None:
        """Answer this request here."""

    def abandon(self, request: Request) -> None:
        """The caller went away before its answer."""

    def throttle(self, request: Request, *, paused: bool) -> None:
        """The caller does not read, or reads again."""

    def body_limit(self, url: bytes) -> int:
        """The most bytes of a body."""

    def too_large(self, url: bytes) -> HttpAnswer:
        """The answer to a body beyond the limit."""

    def too_busy(self, url: bytes) -> HttpAnswer:
        """The answer to a body for which there is no room."""


class Door:
    """Owns the connections of other gateways."""

    stopping = False

    def __init__(self, owner: Owner, neighbourhood: Neighbourhood, token: str) -> None:
        self.loop = owner.loop
        self.answer_budget = owner.answer_budget
        self.request_budget = owner.request_budget
        self.limits = dataclasses.replace(
            owner.limits,
            head_bytes=owner.limits.head_bytes + OWN_HEADERS_BYTES,
            headers=owner.limits.headers + OWN_HEADERS,
        )
        self.clients: set[ClientProtocol] = set()
        self.refusals = Refusals("gateway")
        self._known: set[Caller] = set()
        """Those that have shown the token."""
        self.plain = owner.read_plain(self._serves)
        self.submit = owner.submit
        self._owner = owner
        self._neighbourhood = neighbourhood
        self._token = token.encode()
        self._server: asyncio.Server | None = None
        self.abandon = owner.abandon
        self.throttle = owner.throttle
        self.body_limit = owner.body_limit
        self.too_large = owner.too_large
        self.too_busy = owner.too_busy

    async def open(self, host: str, port: int) -> int:
        """Listen; returns the port."""
        self._server = await self.loop.create_server(lambda: ClientProtocol(self), host, port, backlog=4096)
        listening: int = self._server.sockets[0].getsockname()[1]
        return listening

    def close(self) -> None:
        """Close all connections."""
        if self._server is not None:
            self._server.close()
        for client in list(self.clients):
            client.abort()

    @property
    def now(self) -> float:
        """The loop's time when it was last looked at."""
        return self._owner.now

    @property
    def date_header(self) -> bytes:
        """For the answers."""
        return self._owner.date_header

    def enter(self, client: ClientProtocol) -> HttpAnswer | None:
        """Another gateway has connected. Its own bound on callers bounds these connections too."""
        self.clients.add(client)
        return None

    def leave(self, client: ClientProtocol) -> None:
        """It is gone."""
        self.clients.discard(client)
        self._known.discard(client)

    async def idle(self) -> None:
        """Wait until no answer is due to another gateway."""
        while not all(client.is_idle for client in self.clients):  # noqa: ASYNC110  only when the gateway stops
            await asyncio.sleep(IDLE_LOOK_SECONDS)

    def handle(self, request: Request) -> None:
        """A request or a note, if it comes from a gateway."""
        fields = request.fields
        if not self._knows(request.client, fields.pop(TOKEN, b"")):
            request.client.respond(request, message_answer(401, "The token of the gateways is needed."))
        elif request.url == NOTE_PATH.encode():
            self._take_note(request)
        else:
            request.client.source_ip = fields.pop(SOURCE, b"").decode("latin-1")
            self._neighbourhood.pass_over_all(fields.pop(PASSED_OVER, b"").decode("latin-1"))
            self.place(request)

    def _knows(self, client: Caller, token: bytes) -> bool:
        if not token:
            return client in self._known
        if not hmac.compare_digest(token, self._token):
            return False
        self._known.add(client)
        return True

    def _serves(self, key: str, client: Caller) -> bool:
        return client in self._known and self._neighbourhood.serves(key, client)

    def place(self, request: Request) -> None:
        """Serve it, if its function is at home here; it is never passed on again."""
        key = self._owner.find_key(request)
        if key is not None:
            if self._neighbourhood.find_peer(key) is not None:
                request.client.relay(request, NOT_HOME, complete=True, keep_alive=request.keep_alive)
                return
            if not self._neighbourhood.is_settled(key, request):
                return
        self._owner.serve(request)

    def _take_note(self, request: Request) -> None:
        try:
            note = PeerNote.model_validate_json(request.body)
        except ValidationError as error:
            request.client.respond(request, message_answer(400, str(error)))
            return
        try:
            self._neighbourhood.take_note(note)
        except Exception:  # the outermost line of what a note causes
            log.exception("note not understood", extra={"sender": note.sender})
        request.client.respond(request, HttpAnswer(204, (), b""))
