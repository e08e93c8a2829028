"""What calls Lambda's API and invokes nothing goes on to control, which reads it, and its answer back."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp

from funclet.core.http_event import HttpAnswer
from funclet.core.lambda_api import unavailable, unknown_operation
from funclet.core.messages import ManagementHead
from funclet.gateway.call import Request
from funclet.gateway.identifiers import new_request_id
from funclet.gateway.lambda_reply import error_answer

ANSWER_SECONDS = 60
"""PublishVersion waits until control has resolved the function, 25 s at most, twice."""
CONNECT_SECONDS = 2
PASSED_ON = frozenset({"content-type", "x-amzn-requestid", "x-amzn-errortype", "retry-after"})
"""Headers of control's answer that the caller gets."""
PIECE_BYTES = 256 * 1024


class ManagementDoor:
    """Passes requests on to control at `url`; None: the installation has no management API."""

    def __init__(self, url: str | None, token: str, default_namespace: str) -> None:
        self._url = None if url is None else f"{url.rstrip('/')}/v1/lambda"
        self._token = token
        self._default_namespace = default_namespace
        self._session: aiohttp.ClientSession | None = None
        self._asking: set[asyncio.Task[None]] = set()

    def forward(self, request: Request) -> None:
        """Answer the request, when control has."""
        if self._url is None:
            request.client.respond(request, error_answer(unknown_operation(), new_request_id()))
            return
        task = asyncio.get_running_loop().create_task(self._forward(request, self._url))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def close(self) -> None:
        """Ask no more."""
        for task in self._asking:
            task.cancel()
        if self._session is not None:
            await self._session.close()

    async def _forward(self, request: Request, url: str) -> None:
        try:
            answer = await self._ask(request, url)
        except (aiohttp.ClientError, TimeoutError, OSError):
            answer = error_answer(
                unavailable("Control, which serves this operation, cannot be reached."), new_request_id()
            )
        request.client.respond(request, answer)

    async def _ask(self, request: Request, url: str) -> HttpAnswer:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        head = self._head(request)
        headers = {
            "authorization": f"Bearer {self._token}",
            "content-type": "application/octet-stream",
            "content-length": str(len(head) + len(request.body)),
        }
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
        pieces = _pieces(head, request.body)
        async with self._session.post(url, data=pieces, headers=headers, timeout=timeout) as answer:
            passed = [(name, value) for name, value in answer.headers.items() if name.lower() in PASSED_ON]
            return HttpAnswer(answer.status, passed, await answer.read())

    def _head(self, request: Request) -> bytes:
        """Its length in four bytes, then the JSON."""
        head = ManagementHead(
            method=request.method.decode(),
            url=request.url.decode("latin-1"),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in request.fields.items()},
            default_namespace=self._default_namespace,
        )
        document = head.model_dump_json().encode()
        return len(document).to_bytes(4) + document


async def _pieces(head: bytes, body: bytes) -> AsyncIterator[bytes]:
    yield head
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]
