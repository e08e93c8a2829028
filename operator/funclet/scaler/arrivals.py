"""New instances, from the moment their address is known to the moment their agent listens.

The platform tells of an address before the agent listens and of readiness a second too late: so each is knocked at.
Nothing is sent and no slot of a specialisation is held meanwhile, however long an image takes to come.
"""

from collections.abc import Callable

from funclet.adapters import agent_client
from funclet.core.images import IMAGE_RUNTIME
from funclet.core.instances import Instance, State
from funclet.scaler.workers import Workers

LIMIT = 1000
PATIENCE_SECONDS = 60.0
"""From the moment a pod has its address to the moment its agent must listen: its image may have to be pulled first."""
IMAGE_PATIENCE_SECONDS = 600.0
"""The same where the function is an image of its own, of up to 10 GB."""


class Arrivals:
    """Calls `arrived` or `missed` once for each expected instance, unless it has ended by then."""

    def __init__(self, arrived: Callable[[Instance], None], missed: Callable[[Instance], None]) -> None:
        self._arrived = arrived
        self._missed = missed
        self._workers = Workers(LIMIT)
        self._expected: set[str] = set()

    def expect(self, instance: Instance) -> None:
        """Wait for the agent of an instance that has an address."""
        if instance.name in self._expected:
            return
        self._expected.add(instance.name)
        self._workers.submit(instance.function or instance.namespace, lambda: self._knock(instance))

    async def stop(self) -> None:
        """Wait no more."""
        await self._workers.stop()

    async def _knock(self, instance: Instance) -> None:
        assert instance.host is not None
        assert instance.agent_port is not None

        def is_awaited() -> bool:
            return instance.state is State.STARTING

        patience_seconds = IMAGE_PATIENCE_SECONDS if instance.runtime == IMAGE_RUNTIME else PATIENCE_SECONDS
        listens = await agent_client.await_listening(instance.host, instance.agent_port, patience_seconds, is_awaited)
        self._expected.discard(instance.name)
        if is_awaited():
            (self._arrived if listens else self._missed)(instance)
