"""The gateway's way to control for what calls Lambda's API and invokes nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from tests.adapters.gateway_world import World, running
from tests.ports import free_port

from funclet.core.lambda_api import BODY_LIMIT_BYTES, MANAGEMENT_LIMIT_BYTES

FUNCTIONS = "/2015-03-31/functions"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Its control is not there."""
    async with running(control_url=f"http://127.0.0.1:{free_port()}") as world:
        yield world


async def test_while_control_is_away_callers_are_told_to_come_back(world: World) -> None:
    client: Any = boto3.client(
        "lambda", endpoint_url=world.url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    with pytest.raises(client.exceptions.ServiceException, match="Control, which serves this operation") as refused:
        await asyncio.to_thread(client.list_functions)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert refused.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"


async def answer_to_size(world: World, path: str, size: int) -> httpx.Response:
    """What is said to the head of a request that announces so many bytes; none of them are sent."""
    host, port = world.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n".encode())
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    status, *lines = head.decode().splitlines()
    headers = dict(line.split(": ", 1) for line in lines if line)
    return httpx.Response(int(status.split()[1]), headers=headers)


async def test_code_may_be_larger_than_events_and_has_its_own_limit(world: World) -> None:
    for path, limit in ((f"{FUNCTIONS}/f/invocations", BODY_LIMIT_BYTES), (FUNCTIONS, MANAGEMENT_LIMIT_BYTES)):
        answer = await answer_to_size(world, path, limit + 1)
        assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (413, "RequestTooLargeException")
    async with httpx.AsyncClient() as client:
        taken = await client.post(f"{world.url}{FUNCTIONS}", content=bytes(BODY_LIMIT_BYTES + 1), timeout=60)
    assert taken.status_code == 503, "it is read whole, and only control is missing"
