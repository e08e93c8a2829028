"""SQS's protocol (AWS JSON 1.0): requests without threads, signed by botocore, and messages sent to queues.

botocore's own client would hold a thread for each long poll. https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from funclet.core.sqs_queue import UNREACHABLE, poll_wait_seconds, reason_of, region_of, server_of
from funclet.errors import Unavailable

TIMEOUT_SECONDS = 10.0
"""For an answer, beside the time that a request itself asks to wait."""
MOST_POLLS = 1000
"""Long polls that wait at a time, in one process."""
CONTENT_TYPE = "application/x-amz-json-1.0"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """Credentials, by which requests are signed. They are in no representation, and so in no log."""

    key_id: str = field(repr=False)
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SqsServer:
    """Whom to ask. Without a key: the environment's credentials, or no signature when it has none."""

    endpoint: str
    region: str
    key: AccessKey | None = None


class SqsClient:
    """Asks servers. Every failure is Unavailable with the reason QueueNotFound, AccessDenied or Unreachable."""

    def __init__(self, polls: int = MOST_POLLS) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._credentials: Any = None
        self._credentials_sought = asyncio.Lock()
        self._are_credentials_known = False
        self._places = polls
        self._turn = asyncio.Semaphore(polls)
        self._pollers = 0

    async def call(
        self, server: SqsServer, action: str, arguments: Mapping[str, Any], wait_seconds: float = 0
    ) -> dict[str, Any]:
        """The answer to one action, which itself may take `wait_seconds`."""
        body = json.dumps(arguments).encode()
        url = f"{server.endpoint}/"
        headers = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": f"AmazonSQS.{action}"}
        key = server.key or await self._find_environment_key()
        if key is not None:
            headers = await _sign(url, body, headers, server.region, key)
        timeout = aiohttp.ClientTimeout(total=wait_seconds + TIMEOUT_SECONDS, sock_connect=TIMEOUT_SECONDS)
        try:
            async with self._open_session().post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                return _read(server, answer.status, await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"{server.endpoint} did not answer: {error!r}", reason=UNREACHABLE) from error

    @asynccontextmanager
    async def turn_to_poll(self) -> AsyncIterator[int]:
        """A place among the long polls, and the seconds that this one may wait."""
        self._pollers += 1
        try:
            async with self._turn:
                yield poll_wait_seconds(self._pollers, self._places)
        finally:
            self._pollers -= 1

    async def close(self) -> None:
        """Closes all connections; what still waits on one gets Unavailable."""
        if self._session is not None:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Long polls wait for a turn, and the rest is as much as there are batches: aiohttp's limit would hide them.
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self._session

    async def _find_environment_key(self) -> AccessKey | None:
        """As every AWS SDK finds it, anew when it has expired. It may take a while: files, web tokens, metadata."""
        async with self._credentials_sought:
            if not self._are_credentials_known:
                self._credentials = await asyncio.to_thread(_find_credentials)
                self._are_credentials_known = True
        if self._credentials is None:
            return None
        frozen = await asyncio.to_thread(self._credentials.get_frozen_credentials)
        return AccessKey(frozen.access_key, frozen.secret_key, frozen.token)


class SqsSender:
    """Sends to queues by their URL; `region` is for servers whose name does not tell it."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._client = SqsClient()

    async def send(self, queue_url: str, body: str, attributes: Mapping[str, str]) -> None:
        """Returns when the queue has the message. Raises Unavailable."""
        message: dict[str, Any] = {"QueueUrl": queue_url, "MessageBody": body}
        message["MessageAttributes"] = {
            name: {"DataType": "Number" if name == "ErrorCode" else "String", "StringValue": value}
            for name, value in attributes.items()
        }
        if queue_url.endswith(".fifo"):
            message["MessageGroupId"] = "funclet"
            message["MessageDeduplicationId"] = attributes.get("RequestID", "")
        endpoint = server_of(queue_url)
        server = SqsServer(endpoint, region_of(endpoint, self._region))
        try:
            answer = await self._client.call(server, "SendMessage", message)
        except Unavailable as error:
            text = f"{queue_url} did not take the message: {error.message}"
            raise Unavailable(text, reason="DestinationRefused") from error
        if not answer.get("MessageId"):  # a server that is no SQS at all may answer 200 too
            raise Unavailable(f"{queue_url} did not answer as SQS does", reason="DestinationRefused")

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.close()


def _find_credentials() -> Any:
    from botocore.session import get_session  # 25 MB, for those alone who speak to SQS

    return get_session().get_credentials()


async def _sign(url: str, body: bytes, headers: Mapping[str, str], region: str, key: AccessKey) -> dict[str, str]:
    if not _signers:  # loaded without holding up the loop
        _signers.append(await asyncio.to_thread(_load_signer))
    signed: dict[str, str] = _signers[0](url, body, headers, region, key)
    return signed


_signers: list[Any] = []


def _load_signer() -> Any:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    def sign(url: str, body: bytes, headers: Mapping[str, str], region: str, key: AccessKey) -> dict[str, str]:
        request = AWSRequest("POST", url, dict(headers), body)
        SigV4Auth(Credentials(key.key_id, key.secret, key.token), "sqs", region).add_auth(request)
        return dict(request.headers.items())

    return sign


def _read(server: SqsServer, status: int, body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body or b"{}")
    except ValueError:
        answer = None
    if status == 200:
        return answer if isinstance(answer, dict) else {}
    fields = answer if isinstance(answer, dict) else {}
    code = str(fields.get("__type", "")).rpartition("#")[2]
    said = fields.get("message") or fields.get("Message") or code or "no reason"
    raise Unavailable(f"{server.endpoint} answered {status}: {said}", reason=reason_of(status, code))
