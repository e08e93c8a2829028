"""Finding out what an instance is that this scaler did not start: by its labels, else by asking its agent."""

import json
import logging
from collections.abc import Callable

from funclet.adapters import agent_client
from funclet.adapters.agent_client import AgentAddress, AgentStatus
from funclet.adapters.instances.backend import Observed, Phase
from funclet.core import tokens
from funclet.core.instances import (
    FUNCTION_LABEL,
    REVISION_LABEL,
    RUNTIME_LABEL,
    SLOTS_ANNOTATION,
    STATE_LABEL,
    TIMEOUT_ANNOTATION,
    Instance,
    State,
    function_of,
)
from funclet.core.pool import POOL_TIMEOUT_SECONDS
from funclet.errors import Unavailable
from funclet.scaler.workers import Workers

log = logging.getLogger(__name__)

LIMIT = 64
PATIENCE_SECONDS = 3.0
"""An agent that runs answers in a millisecond; one that has not after this time is not worth waiting for."""
PENDING_PATIENCE_SECONDS = 0.2
"""For one whose container is not running, as far as the platform has noticed: it is starting unless it answers."""

Found = Callable[[Instance, Observed], None]
Lost = Callable[[Observed], None]


class Adoption:
    """Turns strangers into instances. `on_found` and `on_lost` are called once for each."""

    def __init__(self, secret: str, on_found: Found, on_lost: Lost, clock: Callable[[], float]) -> None:
        self._secret = secret
        self._on_found = on_found
        self._on_lost = on_lost
        self._clock = clock
        self._workers = Workers(LIMIT)
        self._asking: dict[str, Observed] = {}

    @property
    def is_done(self) -> bool:
        """Whether nobody is being asked."""
        return not self._asking

    def forget(self, name: str) -> None:
        """A stranger has gone."""
        self._asking.pop(name, None)

    def adopt(self, observed: Observed) -> None:
        """Find out what it is, now or as soon as its agent has said it."""
        if observed.name in self._asking:
            self._asking[observed.name] = observed
            return
        instance = self._read(observed)
        if instance is None:
            self._on_lost(observed)
        elif instance.state is State.STARTING and instance.host and instance.agent_port:
            self._asking[observed.name] = observed
            self._workers.submit(observed.namespace, lambda: self._ask(observed, instance))
        else:
            self._on_found(instance, observed)

    async def stop(self) -> None:
        """Ask no more."""
        await self._workers.stop()

    def _read(self, observed: Observed) -> Instance | None:
        labels = observed.labels
        runtime, function = labels.get(RUNTIME_LABEL), labels.get(FUNCTION_LABEL)
        slots = _slots(observed.annotations.get(SLOTS_ANNOTATION))
        state = _state(labels.get(STATE_LABEL))
        if runtime is None or (state in (State.READY, State.DRAINING) and not (function and slots and observed.host)):
            return None
        return Instance(
            observed.name,
            observed.namespace,
            runtime,
            observed.memory_mib,
            since=self._clock(),
            state=state,
            function=function_of(observed.namespace, labels),
            revision=labels.get(REVISION_LABEL),
            host=observed.host,
            agent_port=observed.agent_port,
            slots=slots,
            timeout_seconds=_timeout_seconds(observed.annotations.get(TIMEOUT_ANNOTATION)),
            written=state in (State.READY, State.DRAINING),
            limit_mib=observed.limit_mib,
        )

    async def _ask(self, observed: Observed, instance: Instance) -> None:
        assert instance.host is not None
        assert instance.agent_port is not None
        token = tokens.specialise_token(self._secret, instance.name)
        address = AgentAddress(instance.host, instance.agent_port, token)
        is_pending = observed.phase is Phase.PENDING
        patience_seconds = PENDING_PATIENCE_SECONDS if is_pending else PATIENCE_SECONDS
        status: AgentStatus | None = None
        try:
            status = await agent_client.observe_status(address, patience_seconds)
        except Unavailable as error:
            log.warning("instance does not answer", extra={"instance": instance.name, "detail": error.message})
        newest = self._asking.pop(instance.name, None)
        if newest is None:
            return
        if status is not None:
            _learn(instance, status)
        if status is not None or is_pending:
            self._on_found(instance, newest)
        else:
            self._on_lost(newest)


def _learn(instance: Instance, status: AgentStatus) -> None:
    """An agent that answers listens; it may have been given code before its labels could be written."""
    instance.state = State.GENERIC
    if status.specialised:
        instance.state = State.READY
        instance.function, instance.revision, instance.slots = status.function, status.revision, status.slots


def _state(label: str | None) -> State:
    match label:
        case "specialised":
            return State.READY
        case "draining":
            return State.DRAINING
        case _:
            return State.STARTING


def _slots(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(port) for port in json.loads(text or "[]"))
    except (ValueError, TypeError):
        return ()


def _timeout_seconds(text: str | None) -> int:
    return int(text) if text and text.isdigit() else POOL_TIMEOUT_SECONDS
