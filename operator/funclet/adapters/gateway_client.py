"""The gateway as events sees it: Lambda's Invoke API with the internal token."""

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from funclet.errors import FunctionFailed, Throttled, Unavailable

QUEUE_AND_COLD_START_SECONDS = 90.0
"""What an invocation may take beside the function's timeout: the gateway's queue (60 s), a cold start, the way."""

CONNECT_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the function answered."""

    status: int
    payload: bytes
    function_error: str | None = None
    """`Unhandled` when the function failed; the payload is then Lambda's error object."""


class ThrottledByGateway(Throttled):
    """429. `retry_after_seconds` is what the gateway asks for, if it does."""

    def __init__(self, message: str, retry_after_seconds: float | None) -> None:
        super().__init__(message, reason="Throttled")
        self.retry_after_seconds = retry_after_seconds


class GatewayUnavailable(Unavailable):
    """5xx, or no answer at all: nobody knows whether the function ran."""

    def __init__(self, message: str, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_seconds = retry_after_seconds


class GatewayClient:
    """Invokes functions through the gateway at `url`."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self._session: aiohttp.ClientSession | None = None

    async def invoke(
        self, key: str, payload: bytes, timeout_seconds: float, headers: Mapping[str, str] | None = None
    ) -> Invocation:
        """The answer of the function `namespace/name`, whose own timeout is given; `headers` are Invoke's own.

        Raises ThrottledByGateway, GatewayUnavailable, or FunctionFailed when the gateway refuses the event itself.
        """
        namespace, _, name = key.partition("/")
        url = f"{self._url}/namespaces/{namespace}/2015-03-31/functions/{name}/invocations"
        timeout = aiohttp.ClientTimeout(
            total=timeout_seconds + QUEUE_AND_COLD_START_SECONDS, sock_connect=CONNECT_TIMEOUT_SECONDS
        )
        sent = {**self._headers, **(headers or {})}
        try:
            async with self._open_session().post(url, data=payload, headers=sent, timeout=timeout) as answer:
                return _judge(answer, await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            message = f"the gateway did not answer: {error!r}"
            raise GatewayUnavailable(message, reason="GatewayUnavailable") from error

    async def close(self) -> None:
        """Closes all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            # The number of batches in flight is the limit; aiohttp's own (100) would let batches wait unseen.
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self._session


def _judge(answer: aiohttp.ClientResponse, payload: bytes) -> Invocation:
    retry_after = _seconds(answer.headers.get("retry-after"))
    match answer.status:
        case status if status < 300:
            return Invocation(status, payload, answer.headers.get("x-amz-function-error"))
        case 429:
            raise ThrottledByGateway("the function is at its limit", retry_after)
        case 404 | 409:
            raise GatewayUnavailable(
                "the gateway does not know the function, or not yet", "FunctionNotFound", retry_after
            )
        case 401 | 403:
            raise GatewayUnavailable("the gateway refused the internal token", "TokenRefused", retry_after)
        case status if status >= 500:
            raise GatewayUnavailable(f"the gateway answered {status}", "GatewayUnavailable", retry_after)
        case status:
            reason = answer.headers.get("x-amzn-errortype", "EventRefused")
            raise FunctionFailed(f"the gateway refused the event with {status}", reason=reason)


def _seconds(header: str | None) -> float | None:
    """Retry-After in its form of seconds; the form of a date is not for machines that are this near."""
    try:
        return None if header is None else max(0.0, float(header))
    except ValueError:
        return None
