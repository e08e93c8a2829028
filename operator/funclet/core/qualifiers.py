"""Which version of a function: the keys of versions, and the choice of an alias between two.

`namespace/name` is the key of the unpublished version ($LATEST), `namespace/name:3` that of version 3: to the gateway's
pools, the scaler and the events role a version is a function of its own. An alias is no key: it leads to one.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from funclet.api.event_invoke import EventInvokeConfig

LATEST = "$LATEST"


def function_key(key: str) -> str:
    """The function, without the version."""
    return key.partition(":")[0]


def version_of(key: str) -> str:
    """The version's number, or $LATEST."""
    return key.partition(":")[2] or LATEST


def name_of(key: str) -> str:
    """The function's name, without namespace and version."""
    return function_key(key).partition("/")[2]


def qualify(key: str, qualifier: str | None) -> str:
    """The key, or the name of an alias after the function's key; None and $LATEST are the function itself."""
    return key if qualifier is None or qualifier == LATEST else f"{key}:{qualifier}"


@dataclass(frozen=True, slots=True)
class AliasRoute:
    """Where an alias leads: to `main`, and so many of its invocations (0 to 1) to `additional`. Both are keys."""

    main: str
    additional: str | None = None
    weight: float = 0.0
    provisioned: int = 0
    """Invocations for which instances are kept ready."""
    event_invoke: EventInvokeConfig | None = None
    """Of events that were sent to it; None: their version's."""

    def choose(self, chance: float) -> str:
        """The version for one invocation. `chance` is drawn anew for each, from 0 to below 1."""
        return self.additional if self.additional is not None and chance < self.weight else self.main

    @property
    def heavier(self) -> str:
        """The one that gets more of the invocations."""
        return self.choose(0.5)

    @property
    def provisions(self) -> dict[str, int]:
        """What is kept ready of each version, by their weights: 10 at 0.25 are 8 and 2."""
        if self.additional is None:
            return {self.main: self.provisioned}
        part = round(self.provisioned * self.weight)
        return {self.main: self.provisioned - part, self.additional: part}


def resolve(named: str, aliases: Mapping[str, AliasRoute], chance: float) -> str:
    """The key of the version that `qualify` has named: an alias chooses one."""
    route = aliases.get(named)
    return named if route is None else route.choose(chance)


def chance_of(request_id: str) -> float:
    """A number from 0 to below 1 for an alias to choose by: the same whoever asks for this request id (a UUID)."""
    return uuid.UUID(request_id).int / (1 << 128)
