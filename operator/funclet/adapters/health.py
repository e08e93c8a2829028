"""The port for probes and Prometheus: /healthz, /readyz and /metrics, apart from the role's own port."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


def registry_text() -> bytes:
    """All metrics of this process in Prometheus' text format."""
    return generate_latest()


class HealthServer:
    """Serves the three paths. `ready` is asked at each /readyz; port 0 takes a free one, which `port` tells."""

    def __init__(
        self,
        port: int,
        registry_text: Callable[[], bytes] = registry_text,
        ready: Callable[[], bool] = lambda: True,
        host: str = "0.0.0.0",
    ) -> None:
        self.port = port
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
        await web.TCPSite(self._runner, self._host, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(text="ready\n") if self._ready() else web.Response(status=503, text="not ready\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._registry_text(), headers={"content-type": CONTENT_TYPE_LATEST})
