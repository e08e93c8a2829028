"""Servers that stand where the gateway and the scaler are, for tests of what calls them."""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web

from funclet.core.messages import DemandReport, FeedMessage

Handler = Callable[[Any], Awaitable[web.Response]]
DEADLINE_SECONDS = 60.0


async def until(condition: Callable[[], Any]) -> None:
    """Returns when the condition holds; fails when it does not within the deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            held = condition()
            if await held if isinstance(held, Awaitable) else held:
                return
            await asyncio.sleep(0.01)


async def succeed(_event: dict[str, Any]) -> web.Response:
    """An answer of a function that returns None."""
    return web.json_response(None)


async def fail(_event: dict[str, Any]) -> web.Response:
    """An answer of a function that raises."""
    error = {"errorMessage": "no luck", "errorType": "ValueError"}
    return web.json_response(error, headers={"x-amz-function-error": "Unhandled"})


class Server(ABC):
    """An HTTP server on a free port of the loopback interface."""

    def __init__(self) -> None:
        self.url = ""
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @abstractmethod
    def _app(self) -> web.Application:
        """What it serves."""


class LambdaServer(Server):
    """Answers Invoke by `handler`, and keeps what it was given."""

    def __init__(self, handler: Handler = succeed) -> None:
        super().__init__()
        self.handler = handler
        self.events: list[Any] = []
        self.times: list[float] = []
        self.paths: set[str] = set()
        self.tokens: set[str | None] = set()
        self.headers: list[dict[str, str]] = []
        self.running = 0
        self.most_running = 0

    @property
    def records(self) -> list[dict[str, Any]]:
        """All records of all events."""
        return [record for event in self.events for record in event["Records"]]

    @property
    def bodies(self) -> list[str]:
        """Their bodies."""
        return [record["body"] for record in self.records]

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_post("/{path:.*}", self._invoke)
        return app

    async def _invoke(self, request: web.Request) -> web.Response:
        event = json.loads(await request.read())
        self.events.append(event)
        self.times.append(time.monotonic())
        self.paths.add(request.path)
        self.tokens.add(request.headers.get("authorization"))
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self.handler(event)
        finally:
            self.running -= 1


class ScalerServer(Server):
    """Takes demand reports and gives the feed that the test writes into it."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[DemandReport] = []
        self.times: list[float] = []
        self._feeds: list[asyncio.Queue[FeedMessage]] = []

    def tell(self, message: FeedMessage) -> None:
        """One more line for all that listen."""
        for feed in self._feeds:
            feed.put_nowait(message)

    def backlog(self, function: str) -> int | None:
        """The last word on this function; -1 when there was none."""
        words = [report.functions[function].backlog for report in self.reports if function in report.functions]
        return words[-1] if words else -1

    @property
    def listeners(self) -> int:
        """Feeds that are open."""
        return len(self._feeds)

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/demand", self._demand)
        app.router.add_get("/v1/instances", self._instances)
        return app

    async def _demand(self, request: web.Request) -> web.Response:
        self.reports.append(DemandReport.model_validate_json(await request.read()))
        self.times.append(time.monotonic())
        return web.Response(status=204)

    async def _instances(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        feed: asyncio.Queue[FeedMessage] = asyncio.Queue()
        self._feeds.append(feed)
        while True:
            await response.write((await feed.get()).model_dump_json().encode() + b"\n")
