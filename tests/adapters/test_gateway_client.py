"""What the gateway's answers mean to whoever invokes for an event source."""

from typing import Any

import pytest
from aiohttp import web
from tests.adapters.lambda_server import LambdaServer

from funclet.adapters.gateway_client import GatewayClient, GatewayUnavailable, ThrottledByGateway
from funclet.errors import FunctionFailed


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (404, GatewayUnavailable, "FunctionNotFound"),
        (409, GatewayUnavailable, "FunctionNotFound"),  # it is there, and was never ready: an event waits for it
        (401, GatewayUnavailable, "TokenRefused"),
        (503, GatewayUnavailable, "GatewayUnavailable"),
        (429, ThrottledByGateway, None),
        (413, FunctionFailed, "RequestTooLargeException"),
    ],
)
async def test_who_must_act_on_a_refusal(status: int, error: type[Exception], reason: str | None) -> None:
    async def refuse(_: Any) -> web.Response:
        return web.json_response({}, status=status, headers={"x-amzn-errortype": "RequestTooLargeException"})

    async with LambdaServer(refuse) as server:
        gateway = GatewayClient(server.url, "token")
        with pytest.raises(error) as raised:
            await gateway.invoke("default/hello", b"{}", timeout_seconds=1)
        await gateway.close()
    assert reason is None or getattr(raised.value, "reason", None) == reason
