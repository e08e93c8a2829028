"""The work queue: each key once, never twice at a time, and again after a wait."""

import asyncio

from funclet.control.workqueue import WorkQueue
from funclet.core.backoff import Backoff

A, B = ("Function", "ns/a"), ("Function", "ns/b")


async def take_all(queue: WorkQueue) -> list[tuple[str, str]]:
    """What can be had without waiting."""
    taken: list[tuple[str, str]] = []
    while True:
        task = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            return taken
        taken.append(task.result())


async def test_a_key_waits_once() -> None:
    queue = WorkQueue()
    for key in (A, B, A, A):
        queue.add(key)
    assert await take_all(queue) == [A, B]


async def test_a_key_that_is_worked_on_comes_again_afterwards() -> None:
    queue = WorkQueue()
    queue.add(A)
    assert await take_all(queue) == [A]
    queue.add(A)
    queue.add(A)
    assert await take_all(queue) == []
    queue.done(A)
    assert await take_all(queue) == [A]
    queue.done(A)
    assert await take_all(queue) == []


async def test_work_in_vain_is_tried_again_unless_the_key_changed_meanwhile() -> None:
    queue = WorkQueue(Backoff(base_seconds=0.001, cap_seconds=0.001))
    queue.add(A)
    await queue.get()
    queue.done(A, again=True)
    async with asyncio.timeout(5):
        assert await queue.get() == A
    queue.add(A)
    queue.done(A, again=True)
    assert await take_all(queue) == [A]


async def test_a_change_makes_the_wait_needless() -> None:
    queue = WorkQueue(Backoff(base_seconds=3600, cap_seconds=3600))
    queue.add(A)
    await queue.get()
    queue.done(A, again=True)
    assert await take_all(queue) == []
    queue.add(A)
    assert await take_all(queue) == [A]
    queue.close()
