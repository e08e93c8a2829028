"""The scaler's own port: demand reports in, the feed of instances out."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable

from aiohttp import web
from pydantic import ValidationError

from funclet.core.messages import DemandReport, Introduction, Ping
from funclet.scaler.feed import Reader, encode

PING_SECONDS = 5.0
REPORT_LIMIT_BYTES = 64 * 1024 * 1024
"""A gateway's first report names all its functions and instances."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TakeReport = Callable[[DemandReport], None]
Join = Callable[[str, Introduction | None, str], Reader]
Leave = Callable[[Reader], None]


class Server:
    """`join` gives a reader its snapshot; nobody gets one before `began`, for it would be a wrong one."""

    def __init__(self, token: str, took: TakeReport, join: Join, leave: Leave, began: asyncio.Event) -> None:
        self._authorization = f"Bearer {token}".encode()
        self._took = took
        self._join = join
        self._leave = leave
        self._began = began
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; `port` tells where."""
        app = web.Application(middlewares=[self._admit], client_max_size=REPORT_LIMIT_BYTES)
        app.router.add_post("/v1/demand", self._demand)
        app.router.add_get("/v1/instances", self._instances)
        # A feed ends with its connection: the others are told at once that a gateway has died, not at the next ping.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and all feeds."""
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._authorization):
            return web.json_response({"message": "Authorization: Bearer with the internal token is needed"}, status=401)
        return await handler(request)

    async def _demand(self, request: web.Request) -> web.Response:
        try:
            report = DemandReport.model_validate_json(await request.read())
        except ValidationError as error:
            return web.json_response({"message": str(error)}, status=400)
        self._took(report)
        return web.Response(status=204)

    async def _instances(self, request: web.Request) -> web.StreamResponse:
        reporter = request.query.get("reporter", "")
        if not reporter:
            return web.json_response({"message": "the query parameter reporter is missing"}, status=400)
        try:
            introduction = _read_introduction(request)
        except ValidationError as error:
            return web.json_response({"message": f"the query parameter peer: {error}"}, status=400)
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        await response.prepare(request)
        await self._await_beginning(response)
        reader = self._join(reporter, introduction, request.remote or "")
        try:
            await _copy(reader, response)
        except ConnectionError:
            pass  # the reader has gone: nothing is left to be told
        finally:
            self._leave(reader)
        return response

    async def _await_beginning(self, response: web.StreamResponse) -> None:
        while not self._began.is_set():
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await self._began.wait()
            except TimeoutError:
                await response.write(encode(Ping()))


def _read_introduction(request: web.Request) -> Introduction | None:
    given = request.query.get("peer")
    return None if given is None else Introduction.model_validate_json(given)


async def _copy(reader: Reader, response: web.StreamResponse) -> None:
    while not reader.cut_off:
        await response.write(await reader.next_lines(PING_SECONDS) or encode(Ping()))
