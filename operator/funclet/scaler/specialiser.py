"""Pushes code to instances: so many at a time, fair between functions, and tells how it ended."""

import logging
from collections.abc import Callable
from typing import Protocol

from funclet.adapters import agent_client
from funclet.adapters.agent_client import AgentAddress
from funclet.core.arn import function_arn
from funclet.core.instances import Instance, State, Step
from funclet.core.messages import Specialisation
from funclet.core.revision import Revision
from funclet.errors import Conflict, FuncletError, InvalidSpec, Unavailable
from funclet.scaler.code import Ingredients
from funclet.scaler.fleet import Fleet
from funclet.scaler.phases import note_phase
from funclet.scaler.workers import Workers

log = logging.getLogger(__name__)

LIMIT = 32
FETCH_LIMIT = 32
CONNECT_PATIENCE_SECONDS = 3.0
"""For an agent that listened when it was last asked."""


class Outcome(Protocol):
    """Who hears how a specialisation ended."""

    def accepted(self, instance: Instance, revision: Revision, slots: tuple[int, ...]) -> None:
        """The agent has taken the code."""

    def refused(self, instance: Instance, revision: Revision, error: InvalidSpec) -> None:
        """The code cannot be used, on whichever instance."""

    def failed(self, instance: Instance, revision: Revision, message: str) -> None:
        """This instance cannot be used; another may."""

    def prepared(self, revision: Revision) -> None:
        """Code and Secrets have been fetched."""

    def unprepared(self, revision: Revision, error: FuncletError) -> None:
        """Code or Secrets cannot be had now."""

    def serve(self) -> None:
        """A specialisation has ended: another may begin."""


class Specialiser:
    """Takes claimed instances that have an address."""

    def __init__(
        self, fleet: Fleet, ingredients: Ingredients, outcome: Outcome, region: str, clock: Callable[[], float]
    ) -> None:
        self._fleet = fleet
        self._ingredients = ingredients
        self._outcome = outcome
        self._region = region
        self._clock = clock
        self._workers = Workers(LIMIT, outcome.serve)
        self._fetches = Workers(FETCH_LIMIT)
        self._fetching: set[str] = set()
        self._pushing: set[str] = set()

    @property
    def has_room(self) -> bool:
        """Whether one more would begin at once."""
        return self._workers.has_room

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being specialised."""
        return self._workers.is_idle

    def prepare(self, revision: Revision) -> bool:
        """Whether code and environment are at hand; if not, they are fetched, and the outcome told."""
        if self._ingredients.are_at_hand(revision):
            return True
        if revision.key not in self._fetching:
            self._fetching.add(revision.key)
            self._fetches.submit(revision.key, lambda: self._fetch(revision))
        return False

    def push(self, instance: Instance, revision: Revision) -> None:
        """Specialise this instance as soon as it is its function's turn."""
        if instance.name not in self._pushing:
            self._pushing.add(instance.name)
            self._workers.submit(revision.key, lambda: self._take_turn(instance, revision))

    async def stop(self) -> None:
        """Let go of what is under way."""
        await self._fetches.stop()
        await self._workers.stop()

    async def _fetch(self, revision: Revision) -> None:
        try:
            await self._ingredients.load(revision)
        except FuncletError as error:
            self._fetching.discard(revision.key)
            self._outcome.unprepared(revision, error)
        else:
            self._fetching.discard(revision.key)
            self._outcome.prepared(revision)

    async def _take_turn(self, instance: Instance, revision: Revision) -> None:
        try:
            if instance.state is State.GENERIC:
                await self._push(instance, revision)
        finally:
            self._pushing.discard(instance.name)

    async def _push(self, instance: Instance, revision: Revision) -> None:
        try:
            packages, environment = await self._ingredients.load(revision)
        except FuncletError as error:
            self._outcome.failed(instance, revision, error.message)
            return
        if instance.state is State.GENERIC:
            head = self._head(instance, revision, environment, [len(layer) for layer in packages[:-1]])
            await self._send(instance, revision, head, packages)

    async def _send(self, instance: Instance, revision: Revision, head: Specialisation, packages: list[bytes]) -> None:
        assert instance.host is not None
        assert instance.agent_port is not None
        began = self._clock()
        instance.advance(Step.PUSHED, began)
        address = AgentAddress(instance.host, instance.agent_port, self._fleet.specialise_token(instance))
        try:
            slots = await agent_client.specialise(address, head, packages, CONNECT_PATIENCE_SECONDS)
        except InvalidSpec as error:
            self._outcome.refused(instance, revision, error)
        except (Unavailable, Conflict) as error:
            self._outcome.failed(instance, revision, error.message)
        else:
            note_phase(instance, "specialise", began, self._clock())
            self._outcome.accepted(instance, revision, slots)

    def _head(
        self, instance: Instance, revision: Revision, environment: dict[str, str], layer_bytes: list[int]
    ) -> Specialisation:
        return Specialisation(
            function=revision.key,
            revision=revision.revision,
            runtime=revision.runtime,
            handler=revision.handler,
            timeout_seconds=revision.timeout_seconds,
            memory_mib=revision.memory_mib,
            concurrency=revision.concurrency_per_instance,
            environment=environment,
            function_arn=function_arn(self._region, revision.namespace, revision.name),
            function_version=revision.version,
            region=self._region,
            log_format=revision.log_format,
            layer_bytes=layer_bytes,
            application_log_level=revision.application_log_level,
            system_log_level=revision.system_log_level,
            initialization_type=instance.initialization_type,
        )
