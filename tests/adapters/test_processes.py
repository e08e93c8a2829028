"""Instances as processes."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.adapters.scaler_world import AGENT, generic_request

from funclet.adapters.agent_client import AgentAddress, observe_status
from funclet.adapters.instances.backend import InstanceEvent, Observed, Phase, Synced, Vanished
from funclet.adapters.instances.processes import ProcessBackend, find_interpreter
from funclet.errors import Unavailable


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[ProcessBackend]:
    backend = ProcessBackend(AGENT, root=tmp_path)
    yield backend
    await backend.close()
    assert list(tmp_path.iterdir()) == []


async def _next(events: AsyncIterator[InstanceEvent]) -> InstanceEvent:
    async with asyncio.timeout(60):
        return await anext(events)


async def test_an_instance_listens_answers_and_ends(backend: ProcessBackend) -> None:
    events = backend.watch()
    assert await _next(events) == Synced()
    await backend.create(generic_request("one"))
    seen = await _next(events)
    assert isinstance(seen, Observed)
    assert (seen.phase, seen.labels) == (Phase.RUNNING, {"funclet.dev/state": "generic"})
    assert seen.host is not None
    assert seen.agent_port is not None
    status = await observe_status(AgentAddress(seen.host, seen.agent_port, "specialise"), 60)
    assert not status.specialised
    with pytest.raises(Unavailable):
        await observe_status(AgentAddress(seen.host, seen.agent_port, "wrong"), 60)
    await backend.delete("default", "one", grace_seconds=1)
    assert await _next(events) == Vanished("default", "one")


async def test_labels_are_there_for_who_watches_later(backend: ProcessBackend) -> None:
    await backend.create(generic_request("one"))
    await backend.label("default", "one", {"funclet.dev/state": "specialised"}, {"a": "b"})
    seen = await _next(backend.watch())
    assert isinstance(seen, Observed)
    assert (seen.labels, seen.annotations) == ({"funclet.dev/state": "specialised"}, {"a": "b"})


async def test_what_is_not_there_is_no_error(backend: ProcessBackend) -> None:
    await backend.delete("default", "nobody", grace_seconds=1)
    await backend.label("default", "nobody", {}, {})


async def test_what_is_ended_while_it_starts_leaves_nothing(backend: ProcessBackend, tmp_path: Path) -> None:
    creations = [asyncio.create_task(backend.create(generic_request(name))) for name in ("one", "two")]
    await asyncio.sleep(0)  # now both have begun
    await backend.delete("default", "one", grace_seconds=1)
    assert [folder.name.partition("-")[0] for folder in tmp_path.iterdir()] == ["two"]
    for creation in creations:
        creation.cancel()
    await backend.close()
    assert list(tmp_path.iterdir()) == []
    await asyncio.gather(*creations, return_exceptions=True)


async def test_an_agent_that_ends_at_once_is_unavailable_and_its_words_are_logged(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text("print('out of order')\n")
    lines: list[tuple[str, str]] = []
    backend = ProcessBackend(agent, on_log=lambda name, line: lines.append((name, line)), root=tmp_path)
    with pytest.raises(Unavailable):
        await backend.create(generic_request("one"))
    await backend.close()
    assert lines == [("one", "out of order")]


def test_the_exact_interpreter_or_the_nearest() -> None:
    assert find_interpreter(f"python3.{sys.version_info.minor}")[1]
    path, exact = find_interpreter("python3.99")
    assert Path(path).exists()
    assert not exact
