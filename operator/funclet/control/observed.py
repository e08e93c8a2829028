"""What control has seen: Functions and Triggers by key, and who depends on what."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from funclet.api.function import Function
from funclet.api.function_status import FunctionStatus
from funclet.api.meta import ObjectMeta
from funclet.api.trigger import Trigger, TriggerStatus
from funclet.core.resolve import secret_names
from funclet.core.routes import route_of
from funclet.core.validation import describe

Value = TypeVar("Value", bound=Hashable)
Status = TypeVar("Status", FunctionStatus, TriggerStatus)

Key = tuple[str, str]
"""Kind and `namespace/name`."""


@dataclass(frozen=True, slots=True)
class Unreadable(Generic[Status]):
    """A resource whose spec says what can't be; its status is all that can be worked with."""

    metadata: ObjectMeta
    status: Status
    message: str


class Index(Generic[Value]):
    """Which keys have a value: `keys` is the way back from what `set` was told."""

    def __init__(self) -> None:
        self._values: dict[str, frozenset[Value]] = {}
        self._keys: defaultdict[Value, set[str]] = defaultdict(set)

    def set(self, key: str, values: Iterable[Value]) -> frozenset[Value]:
        """Replace the values of a key; returns those that it had or has now."""
        before, now = self._values.pop(key, frozenset()), frozenset(values)
        for value in before - now:
            self._keys[value].discard(key)
            if not self._keys[value]:
                del self._keys[value]
        for value in now - before:
            self._keys[value].add(key)
        if now:
            self._values[key] = now
        return before | now

    def keys(self, value: Value) -> frozenset[str]:
        """The keys that have this value."""
        return frozenset(self._keys.get(value, ()))


def parse_function(resource: dict[str, Any]) -> Function | Unreadable[FunctionStatus]:
    """A Function, or what is left of one that is wrong."""
    try:
        return Function.model_validate(resource)
    except ValidationError as error:
        status = FunctionStatus.model_validate(resource.get("status", {}))
        return Unreadable(ObjectMeta.model_validate(resource["metadata"]), status, describe(error))


def parse_trigger(resource: dict[str, Any]) -> Trigger | Unreadable[TriggerStatus]:
    """A Trigger, or what is left of one that is wrong."""
    try:
        return Trigger.model_validate(resource)
    except ValidationError as error:
        status = TriggerStatus.model_validate(resource.get("status", {}))
        return Unreadable(ObjectMeta.model_validate(resource["metadata"]), status, describe(error))


def references_of(function: Function | Unreadable[FunctionStatus] | None) -> list[Key]:
    """The Secrets and ConfigMaps that a Function names."""
    if not isinstance(function, Function):
        return []
    namespace = function.metadata.namespace
    secrets = [("Secret", f"{namespace}/{name}") for name in secret_names(function.spec)]
    sources = [function.spec.code.config_map, *(layer.config_map for layer in function.spec.layers)]
    maps = [("ConfigMap", f"{namespace}/{source.name}") for source in sources if source is not None]
    return [*secrets, *maps]


def targets_of(trigger: Trigger | Unreadable[TriggerStatus] | None) -> list[Hashable]:
    """What a Trigger's state hangs on: its Function's key, its route, and the Secret of its queue."""
    if not isinstance(trigger, Trigger):
        return []
    route = route_of(trigger)
    function = f"{trigger.metadata.namespace}/{trigger.spec.function.name}"
    secret = trigger.spec.sqs.credentials_secret if trigger.spec.sqs else None
    secrets = [("Secret", f"{trigger.metadata.namespace}/{secret.name}")] if secret else []
    return [function, *([route] if route else []), *secrets]


def wish(trigger: Trigger | Unreadable[TriggerStatus]) -> tuple[str, int]:
    """Changes when the spec does."""
    return trigger.metadata.uid, trigger.metadata.generation


def is_older(function: Function, before: Function) -> bool:
    """Whether a watch lags behind what was written here: what is active never goes back by itself."""
    if function.metadata.uid != before.metadata.uid or before.status.active is None:
        return False
    return function.status.active is None or function.status.active.generation < before.status.active.generation


def same_status(one: FunctionStatus, other: FunctionStatus) -> bool:
    """Whether they say the same, but for what is written by others: the numbers of instances and of versions."""
    return one == other.model_copy(update={"instances": one.instances, "last_version": one.last_version})


def essence(function: Function | Unreadable[FunctionStatus]) -> tuple[object, ...]:
    """What a change of makes work: all but the number of instances."""
    status = function.status.model_copy(update={"instances": 0})
    return function.metadata.uid, function.metadata.generation, status
