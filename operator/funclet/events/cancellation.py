"""How the role's tasks are ended."""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_SECONDS = 0.1


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Returns when all of them have ended.

    Cancels again and again: before Python 3.12 `asyncio.wait_for`, which nats-py uses, forgets a cancellation that
    comes together with its result (https://github.com/python/cpython/issues/86296).
    """
    waiting = {task for task in tasks if not task.done()}
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=AGAIN_SECONDS)
