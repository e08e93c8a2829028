"""The port of the management API: gateways pass on what callers ask (docs/design/0001-roles-and-wire.md)."""

import asyncio
import hmac
import json
import logging
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from funclet.adapters.code_fetch import Packages
from funclet.adapters.lambda_model import LambdaModel
from funclet.adapters.resources import Store
from funclet.adapters.sigv4 import Key, check_local, check_signature
from funclet.control.management.api import build_operations
from funclet.control.management.links import PackageLinks
from funclet.control.management.records import Call
from funclet.core.lambda_api import MANAGEMENT_LIMIT_BYTES, LambdaError, unavailable
from funclet.core.management.refusals import Refusal, denied
from funclet.core.messages import ManagementHead
from funclet.errors import Unavailable

logger = logging.getLogger(__name__)

HEAD_LIMIT_BYTES = 1024 * 1024
LARGE_BYTES = 1024 * 1024
"""Requests above this size are read one at a time, so that archives do not fill the memory."""
_CODE = re.compile(r"(?:/namespaces/[^/]+)?/2015-03-31/functions/[^/]+/code\?(.+)")


class ManagementServer:
    """Serves `POST /v1/lambda`. With a key only requests that were signed with it are taken; without one, which is
    local mode's, any signature will do.
    """

    def __init__(
        self,
        store: Store,
        packages: Packages,
        token: str,
        accounts: Callable[[], Mapping[str, str]],
        *,
        region: str = "us-east-1",
        key: Key | None = None,
    ) -> None:
        self._packages = packages
        self._authorization = f"Bearer {token}".encode()
        self._key = key
        self._links = PackageLinks(token.encode(), lambda: datetime.now(UTC).timestamp())
        self._operations = build_operations(store, packages, self._links, region, accounts)
        self._model = LambdaModel(self._operations)
        self._large = asyncio.Lock()
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; `port` tells where."""
        app = web.Application(client_max_size=MANAGEMENT_LIMIT_BYTES + HEAD_LIMIT_BYTES)
        app.router.add_post("/v1/lambda", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        given = request.headers.get("authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._authorization):
            return web.json_response({"message": "Authorization: Bearer with the internal token is needed"}, status=401)
        if (request.content_length or 0) <= LARGE_BYTES:
            return await self._read(await request.read())
        async with self._large:
            return await self._read(await request.read())

    async def _read(self, data: bytes) -> web.Response:
        end = 4 + int.from_bytes(data[:4])
        try:
            head = ManagementHead.model_validate_json(data[4:end])
        except ValidationError as error:
            return web.json_response({"message": str(error)}, status=400)
        request_id = str(uuid.uuid4())
        try:
            return await self._answer(head, data[end:], request_id)
        except Refusal as refusal:
            return _refused(refusal.error, request_id)
        except Unavailable as error:
            return _refused(unavailable(error.message), request_id)
        except Exception:
            logger.exception("management request failed", extra={"method": head.method, "request_id": request_id})
            message = "The platform failed; its log says why."
            return _refused(LambdaError(500, "ServiceException", message, fault="Service"), request_id)

    async def _answer(self, head: ManagementHead, body: bytes, request_id: str) -> web.Response:
        if head.method == "GET" and (link := _CODE.fullmatch(head.url)):
            return await self._give_package(link[1])
        if self._key is None:
            check_local(head)
        else:
            check_signature(head, body, self._key, datetime.now(UTC))
        asked = self._model.read(head.method, head.url, body)
        namespace = asked.namespace or head.default_namespace
        answer = await self._operations[asked.operation](Call(namespace, asked.params, _endpoint(head, namespace)))
        if head.method != "GET":
            extra = {"operation": asked.operation, "namespace": namespace, "request_id": request_id}
            logger.info("operation done", extra=extra)
        headers = {"x-amzn-RequestId": request_id}
        if answer is None:
            return web.Response(status=204, headers=headers)
        return web.Response(status=asked.status, body=_encode(answer), content_type="application/json", headers=headers)

    async def _give_package(self, query: str) -> web.Response:
        sha256 = self._links.find_package(query)
        if sha256 is None:
            raise denied("AccessDeniedException", "This address has expired: GetFunction gives another one.")
        return web.Response(body=await self._packages.get(sha256), content_type="application/zip")


def _endpoint(head: ManagementHead, namespace: str) -> str:
    """How the caller names this API."""
    scheme = head.headers.get("x-forwarded-proto", "http")
    return f"{scheme}://{head.headers.get('host', '')}/namespaces/{namespace}"


def _encode(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode()


def _refused(error: LambdaError, request_id: str) -> web.Response:
    headers = {"x-amzn-RequestId": request_id, "x-amzn-ErrorType": error.error_type}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return web.Response(status=error.status, body=error.body(), content_type="application/json", headers=headers)
