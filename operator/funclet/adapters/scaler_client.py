"""The scaler's endpoints as a client sees them: demand reports out, the feed of instances in."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import aiohttp

from funclet.core.messages import FEED, DemandReport, FeedMessage, Introduction
from funclet.errors import Unavailable

log = logging.getLogger(__name__)

REPORT_TIMEOUT_SECONDS = 5
CONNECT_TIMEOUT_SECONDS = 0.5
"""While the pod of a Service is replaced, the first packets of connections to it are lost. The kernel sends them again
after 1, 3 and 7 s, to the pod that has gone: whoever tries anew is with the new one sooner."""
FEED_SILENCE_SECONDS = 15
"""The scaler sends PING every 5 s: three missed ones mean that the connection is dead."""
FIRST_BACKOFF_SECONDS = 0.05
LAST_BACKOFF_SECONDS = 0.5
"""Callers wait for what a scaler that has just started says."""
LINE_LIMIT_BYTES = 64 * 1024 * 1024
"""A SNAPSHOT of 100,000 instances is about 30 MB in one line."""


class ScalerClient:
    """Speaks to the scaler at `url` as `reporter`. Every failure to reach it is `Unavailable`."""

    def __init__(self, url: str, token: str, reporter: str) -> None:
        self.reporter = reporter
        self.introduce: Callable[[], Introduction] | None = None
        """A gateway with others beside it sets this: what the scaler is told of it when the feed is opened."""
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers, read_bufsize=LINE_LIMIT_BYTES)
        return self._session

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def report(self, report: DemandReport) -> None:
        """Deliver one report; it counts as delivered when this returns."""
        timeout = aiohttp.ClientTimeout(total=REPORT_TIMEOUT_SECONDS, sock_connect=CONNECT_TIMEOUT_SECONDS)
        body = report.model_dump_json().encode()
        headers = {"content-type": "application/json"}
        try:
            async with self._open_session().post(
                f"{self._url}/v1/demand", data=body, headers=headers, timeout=timeout
            ) as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                f"the scaler did not take the demand report: {error!r}", reason="ScalerUnavailable"
            ) from error

    async def feed(self) -> AsyncIterator[FeedMessage]:
        """One connection to the feed: a Snapshot, then what changes. Ends or raises Unavailable when it is lost."""
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_SECONDS, sock_read=FEED_SILENCE_SECONDS
        )
        parameters = {"reporter": self.reporter}
        if self.introduce is not None:
            parameters["peer"] = self.introduce().model_dump_json()
        try:
            async with self._open_session().get(
                f"{self._url}/v1/instances", params=parameters, timeout=timeout
            ) as answer:
                answer.raise_for_status()
                async for line in answer.content:
                    if line.strip():
                        yield FEED.validate_json(line)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"the scaler's feed was lost: {error!r}", reason="ScalerUnavailable") from error

    async def follow(self, callback: Callable[[FeedMessage], None], on_lost: Callable[[], None] | None = None) -> None:
        """Give every message of the feed to `callback`, for ever; reconnect with a backoff from 50 to 500 ms."""
        backoff_seconds = FIRST_BACKOFF_SECONDS
        while True:
            connected = False
            try:
                async for message in self.feed():
                    connected = True
                    backoff_seconds = FIRST_BACKOFF_SECONDS
                    callback(message)
            except Unavailable as error:
                log.warning("feed lost", extra={"reason": error.reason, "detail": error.message})
            if connected and on_lost is not None:
                on_lost()
            await asyncio.sleep(backoff_seconds)
            backoff_seconds = min(backoff_seconds * 2, LAST_BACKOFF_SECONDS)
