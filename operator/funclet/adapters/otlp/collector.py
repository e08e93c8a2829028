"""The collector at the other end: OTLP over HTTP, with its rules for trying again.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

import asyncio
import gzip
import random

import aiohttp

from funclet.adapters.otlp.settings import OtlpSettings
from funclet.core.backoff import Backoff
from funclet.errors import Unavailable

RETRYABLE = frozenset((429, 502, 503, 504))
RETRIES = Backoff(base_seconds=0.5, cap_seconds=5.0)
ANSWER_BYTES = 64 * 1024
LONGEST_PAUSE_SECONDS = 30.0


class Collector:
    """Takes requests, one after another."""

    def __init__(self, settings: OtlpSettings) -> None:
        self._settings = settings
        self._headers = {"content-type": "application/x-protobuf", **settings.headers}
        if settings.gzip:
            self._headers["content-encoding"] = "gzip"
        self._session: aiohttp.ClientSession | None = None
        self._last = ""
        """What came of the last attempt."""

    async def send(self, body: bytes) -> bytes:
        """The answer to a request that it has taken, tried again for as long as the settings allow.

        Raises Unavailable when it has not, or nobody knows.
        """
        if self._settings.gzip:
            body = await asyncio.to_thread(gzip.compress, body, 1)
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                return await self._send(body)
        except TimeoutError as error:
            raise Unavailable(self._last, reason="CollectorUnavailable") from error

    async def _send(self, body: bytes) -> bytes:
        attempt = 0
        while True:
            attempt += 1
            self._last = "it does not answer"
            pause_seconds = RETRIES.delay(attempt, random.random())  # noqa: S311  spreads callers, hides nothing
            try:
                async with self._post(body) as answer:
                    if answer.ok:
                        return await answer.content.read(ANSWER_BYTES)
                    if answer.status not in RETRYABLE:
                        raise Unavailable(f"it answered {answer.status}", reason="CollectorRefused")
                    self._last = f"it answered {answer.status}"
                    pause_seconds = max(pause_seconds, _retry_after(answer))
            except (aiohttp.ClientError, OSError) as error:
                self._last = repr(error)
            await asyncio.sleep(pause_seconds)

    def _post(self, body: bytes) -> "aiohttp.client._RequestContextManager":
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers)
        tls = True if self._settings.tls is None else self._settings.tls
        return self._session.post(self._settings.endpoint, data=body, ssl=tls, allow_redirects=False)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _retry_after(answer: aiohttp.ClientResponse) -> float:
    text = answer.headers.get("retry-after", "")
    return min(float(text), LONGEST_PAUSE_SECONDS) if text.isdecimal() else 0.0
