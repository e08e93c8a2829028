"""The scaler's client where the network swallows what it sends, as a Service does whose pod is being replaced."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from funclet.adapters import scaler_client
from funclet.adapters.scaler_client import ScalerClient
from funclet.core.messages import DemandReport
from funclet.errors import Unavailable

PLAINLY_BROKEN_SECONDS = 60.0
"""The time of a whole report in these tests; a connection has a fraction of a second."""


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """A URL on which the kernel drops each attempt to connect: its queue of one has one, and nobody accepts."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.create_connection(server.getsockname()):
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


async def test_a_connection_that_is_swallowed_is_given_up_long_before_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaler_client, "REPORT_TIMEOUT_SECONDS", PLAINLY_BROKEN_SECONDS)
    with black_hole() as url:
        client = ScalerClient(url, "token", "gateway-0")
        async with asyncio.timeout(PLAINLY_BROKEN_SECONDS / 2):
            with pytest.raises(Unavailable, match="Connection timeout"):
                await client.report(DemandReport(reporter="gateway-0", functions={}, drained=[]))
            with pytest.raises(Unavailable, match="Connection timeout"):
                await anext(client.feed())
        await client.close()
