"""The connection to NATS, and its errors in Funclet's own terms."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import nats.errors
from nats.aio.client import Client

from funclet.errors import Unavailable

log = logging.getLogger(__name__)

RECONNECT_WAIT_SECONDS = 0.5
"""Between two attempts. JetStream restarts in about a second, so a longer wait only adds to an outage."""

RECONNECT_FOREVER = -1
PING_INTERVAL_SECONDS = 10
"""A dead peer is noticed after two of these (nats-py: max_outstanding_pings 2); the library's default takes minutes."""


async def connect(url: str, name: str = "funclet") -> Client:
    """A connection that comes back by itself as often as it takes; the first attempt waits for the server too."""
    client = Client()

    async def on_disconnected() -> None:
        if not client.is_closed:  # by ourselves
            log.warning("NATS disconnected")

    await client.connect(
        url,
        name=name,
        max_reconnect_attempts=RECONNECT_FOREVER,
        reconnect_time_wait=RECONNECT_WAIT_SECONDS,  # type: ignore[arg-type]  # asyncio.sleep takes it as it is
        ping_interval=PING_INTERVAL_SECONDS,
        error_cb=_on_error,
        disconnected_cb=on_disconnected,
        reconnected_cb=_on_reconnected,
    )
    return client


@contextmanager
def unavailable_when_unreachable() -> Iterator[None]:
    """Turns whatever NATS raises inside the block into Unavailable."""
    try:
        yield
    except nats.errors.Error as error:
        raise Unavailable(f"JetStream did not answer: {error}", reason="JetStreamUnavailable") from error
    except OSError as error:
        raise Unavailable("JetStream did not answer in time", reason="JetStreamUnavailable") from error


async def _on_error(error: Exception) -> None:
    log.debug("NATS connection error", extra={"error": str(error) or type(error).__name__})


async def _on_reconnected() -> None:
    log.info("NATS reconnected")
