"""The port for probes and Prometheus: /healthz, /readyz and /metrics, apart from the role's own port."""

import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

T = TypeVar("T")


def registry_text() -> bytes:
    """All metrics of this process in Prometheus' text format."""
    return generate_latest()


class HealthServer:
    """Serves the three paths. `ready` is asked at each /readyz; port 0 takes a free one, which `port` tells.

    `fd` is a listening socket to be used instead of the port.
    """

    def __init__(
        self,
        port: int,
        registry_text: Callable[[], bytes | Awaitable[bytes]] = registry_text,
        ready: Callable[[], bool | Awaitable[bool]] = lambda: True,
        host: str = "0.0.0.0",
        fd: int | None = None,
    ) -> None:
        self.port = port
        self._fd = fd
        self._host = host
        self._registry_text = registry_text
        self._ready = ready
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        if self._fd is None:
            await web.TCPSite(self._runner, self._host, self.port).start()
        else:
            await web.SockSite(self._runner, socket.socket(fileno=self._fd)).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        ready = await _settle(self._ready())
        return web.Response(text="ready\n") if ready else web.Response(status=503, text="not ready\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        text = await _settle(self._registry_text())
        return web.Response(body=text, headers={"content-type": CONTENT_TYPE_LATEST})


async def _settle(value: T | Awaitable[T]) -> T:
    return await value if isinstance(value, Awaitable) else value
