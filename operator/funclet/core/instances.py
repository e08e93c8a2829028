"""An instance's life, and the register of all instances, in memory.

    starting ──listens──▶ generic ──push──▶ specialising ──accepted──▶ ready ──drain──▶ draining
       └──────────┴────────────┴──────remove──────┴──────────────────────┴─────────────────┴──▶ gone

An instance belongs to a function from its start or from its claim on, which is the moment before the push. It never
changes hands. It is generic when its agent listens: then it can be specialised at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from funclet.api.pod import PodSettings
from funclet.core.images import ImageFunction
from funclet.core.messages import InitializationType
from funclet.core.qualifiers import LATEST, name_of, qualify, version_of
from funclet.errors import Conflict

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "funclet-scaler"
RUNTIME_LABEL = "funclet.dev/runtime"
STATE_LABEL = "funclet.dev/state"
FUNCTION_LABEL = "funclet.dev/function"
VERSION_LABEL = "funclet.dev/version"
"""Of a published version; there is none on instances of $LATEST."""
REVISION_LABEL = "funclet.dev/revision"
SLOTS_ANNOTATION = "funclet.dev/slots"
TIMEOUT_ANNOTATION = "funclet.dev/timeout-seconds"
"""So that a restarted scaler knows how long an instance may drain whose function or revision is no more."""


STUCK_SECONDS = 5.0
"""By then callers are told why nothing comes. Trying goes on: an autoscaler may be adding a node."""


class State(StrEnum):
    """Where an instance is in its life."""

    STARTING = "starting"
    GENERIC = "generic"
    SPECIALISING = "specialising"
    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"


class Step(StrEnum):
    """What can happen to an instance."""

    LISTENS = "listens"
    PUSHED = "pushed"
    ACCEPTED = "accepted"
    DRAIN = "drain"
    REMOVE = "remove"


TRANSITIONS: dict[tuple[State, Step], State] = {
    (State.STARTING, Step.LISTENS): State.GENERIC,
    (State.GENERIC, Step.PUSHED): State.SPECIALISING,
    (State.SPECIALISING, Step.ACCEPTED): State.READY,
    # Adopted after a restart: the agent said that it is specialised.
    (State.GENERIC, Step.ACCEPTED): State.READY,
    (State.READY, Step.DRAIN): State.DRAINING,
    **{(state, Step.REMOVE): State.GONE for state in State if state is not State.GONE},
}

SERVING_SOON = (State.STARTING, State.GENERIC, State.SPECIALISING, State.READY)
"""States of a function's instances that count as capacity."""


@dataclass(frozen=True, slots=True)
class InstanceRequest:
    """All that a backend needs to create an instance."""

    name: str
    namespace: str
    runtime: str
    memory_mib: int
    ephemeral_storage_mib: int
    timeout_seconds: int
    """The longest invocation that may run on it: how long its end may take."""
    specialise_token_sha256: str
    invoke_token_sha256: str
    labels: dict[str, str]
    annotations: dict[str, str]
    pod: PodSettings
    limit_mib: int = 0
    """How much memory it may take; 0: `memory_mib`."""
    image: ImageFunction | None = None
    """The function whose image runs beside the agent; None where the agent runs the function itself."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """Why an instance that starts does not come: no node has room, or its image cannot be had."""

    reason: str
    message: str
    since: float


@dataclass(slots=True)
class Instance:
    """What the scaler knows of one instance."""

    name: str
    namespace: str
    runtime: str
    memory_mib: int
    since: float
    """When it entered its state, on the scaler's clock, in seconds."""
    state: State = State.STARTING
    function: str | None = None
    revision: str | None = None
    initialization_type: InitializationType = "on-demand"
    host: str | None = None
    agent_port: int | None = None
    asked_at: float | None = None
    """When somebody began to wait for an instance, if somebody did."""
    was_waiting: bool = False
    """It listened before anybody asked for it."""
    created_at: float | None = None
    """When the platform agreed to make it, if somebody waited for it then."""
    phases: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When each phase of its start began and ended, of those that somebody waited for."""
    limit_mib: int = 0
    """How much memory it may take, as was asked for; 0: `memory_mib`. A generic instance may take more than that."""
    granted_memory_mib: int = 0
    """The limit that is in force, as last seen; 0 while that is not known."""
    sized_by: float | None = None
    """When a resize that was accepted must be in force; None when there is none under way."""
    stuck: Stuck | None = None
    """Why it does not come, while that is so."""
    slots: tuple[int, ...] = ()
    timeout_seconds: int = 900
    """Its function's; the longest that there is, while that is not known."""
    written: bool = False
    """Its labels say what it is."""
    drain_until: float | None = None
    holders: frozenset[str] = frozenset()
    """Reporters that may have been using it when it began to drain."""
    drained_by: set[str] = field(default_factory=set)

    def advance(self, step: Step, now: float) -> None:
        """Take a step of the table; Conflict when there is none."""
        following = TRANSITIONS.get((self.state, step))
        if following is None:
            raise Conflict(f"instance {self.name} is {self.state}: it cannot be {step}")
        self.state, self.since = following, now


def find_stuck(instances: Iterable[Instance], now: float) -> Stuck | None:
    """Why nothing starts: the word on the one that waits longest, once it is not just a moment's."""
    stuck = [one.stuck for one in instances if one.state is State.STARTING and one.stuck is not None]
    first = min(stuck, key=lambda one: one.since, default=None)
    return first if first is not None and now - first.since >= STUCK_SECONDS else None


class Register:
    """All instances by name, by function and, while nobody has claimed them, by pool."""

    def __init__(self) -> None:
        self.by_name: dict[str, Instance] = {}
        self._by_function: dict[str, dict[str, Instance]] = {}
        self._by_pool: dict[tuple[str, str], dict[str, Instance]] = {}

    def add(self, instance: Instance) -> None:
        """Take up an instance, claimed or not."""
        self.by_name[instance.name] = instance
        self._index(instance)[instance.name] = instance

    def claim(self, instance: Instance, function: str, revision: str) -> None:
        """Give an instance of the pool to a function, for good."""
        if instance.function is not None:
            raise Conflict(f"instance {instance.name} belongs to {instance.function}")
        self._index(instance).pop(instance.name, None)
        instance.function, instance.revision = function, revision
        self._index(instance)[instance.name] = instance

    def remove(self, instance: Instance, now: float) -> None:
        """Forget an instance: it is gone, or will be in a moment."""
        if self.by_name.pop(instance.name, None) is not None:
            self._drop(instance)
            instance.advance(Step.REMOVE, now)

    def of_function(self, function: str) -> list[Instance]:
        """All instances of a function, draining ones too, oldest first."""
        return list(self._by_function.get(function, {}).values())

    def serving_soon(self, function: str, revision: str) -> list[Instance]:
        """Those that serve this revision now or soon."""
        return [one for one in self.of_function(function) if one.revision == revision and one.state in SERVING_SOON]

    def of_pool(self, pool: tuple[str, str]) -> list[Instance]:
        """Unclaimed instances of a (namespace, runtime), oldest first."""
        return list(self._by_pool.get(pool, {}).values())

    def has_generic(self, pool: tuple[str, str]) -> bool:
        """Whether an instance of this pool can be specialised now."""
        return any(instance.state is State.GENERIC for instance in self._by_pool.get(pool, {}).values())

    @property
    def functions(self) -> Iterable[str]:
        """Functions that have instances."""
        return self._by_function.keys()

    @property
    def pools(self) -> Iterable[tuple[str, str]]:
        """Pools that have instances."""
        return self._by_pool.keys()

    def _index(self, instance: Instance) -> dict[str, Instance]:
        if instance.function is None:
            return self._by_pool.setdefault((instance.namespace, instance.runtime), {})
        return self._by_function.setdefault(instance.function, {})

    def _drop(self, instance: Instance) -> None:
        index = self._index(instance)
        index.pop(instance.name, None)
        if index:
            return
        if instance.function is None:
            del self._by_pool[(instance.namespace, instance.runtime)]
        else:
            del self._by_function[instance.function]


def function_labels(key: str) -> dict[str, str]:
    """What the pod of an instance says of its function. A label's value may hold neither / nor :."""
    version = version_of(key)
    return {FUNCTION_LABEL: name_of(key), **({} if version == LATEST else {VERSION_LABEL: version})}


def function_of(namespace: str, labels: Mapping[str, str]) -> str | None:
    """The key that `function_labels` told of; None: it has no function."""
    name = labels.get(FUNCTION_LABEL)
    return qualify(f"{namespace}/{name}", labels.get(VERSION_LABEL)) if name else None
