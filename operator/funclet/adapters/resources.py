"""What every role knows of resources: one protocol, for the Kubernetes API and for a folder of YAML files."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

FINALIZER = "funclet.dev/alias"
"""On what must stay because an alias leads to it."""


class EventType(StrEnum):
    """What a watch says. SYNCED comes once, after all that existed when the watch began."""

    UPSERTED = "UPSERTED"
    DELETED = "DELETED"
    SYNCED = "SYNCED"


UPSERTED, DELETED, SYNCED = EventType.UPSERTED, EventType.DELETED, EventType.SYNCED


@dataclass(frozen=True, slots=True)
class ResourceEvent:
    """One step of a watch. A DELETED object holds metadata alone (name, namespace, uid); SYNCED holds nothing."""

    type: EventType
    object: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """`namespace/name` of the object."""
        return object_key(self.object)


def object_key(resource: dict[str, Any]) -> str:
    """`namespace/name` of a resource in its wire form."""
    metadata = resource.get("metadata", {})
    return f"{metadata.get('namespace', 'default')}/{metadata.get('name', '')}"


def split_key(key: str) -> tuple[str, str]:
    """Namespace and name of a key."""
    namespace, _, name = key.partition("/")
    return namespace, name


@dataclass(frozen=True, slots=True)
class Owner:
    """A resource of Funclet's with which others are deleted."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class SecretData:
    """A Secret's values, decoded. They never appear in a representation, and so in no log."""

    data: dict[str, bytes] = field(repr=False)
    resource_version: str


@dataclass(frozen=True, slots=True)
class ConfigMapData:
    """A ConfigMap's values; `binary_data` is decoded."""

    data: dict[str, str] = field(repr=False)
    binary_data: dict[str, bytes] = field(repr=False)
    resource_version: str


class Resources(Protocol):
    """Where the roles read resources from, and where control writes their status to."""

    def watch(self, kind: str, *, label_selector: str = "") -> AsyncIterator[ResourceEvent]:
        """Follow all objects of a kind, for ever: what exists, SYNCED, then every change. Failures are retried inside.

        Secrets and ConfigMaps come as metadata alone.
        """

    async def patch_status(
        self, kind: str, namespace: str, name: str, status: dict[str, Any], *, owner: str = "control"
    ) -> None:
        """Set the fields of the status that belong to `owner`; fields of other owners stay.

        Raises Conflict with the reason NotFound when the object is gone, and Unavailable when the API is.
        """

    async def find_generation(self, kind: str, namespace: str, name: str) -> int | None:
        """The generation of an object as it is now, whatever the watches have told; None when there is none."""

    async def set_owner(self, kind: str, namespace: str, name: str, uid: str, owner: Owner) -> None:
        """Have the object of this uid deleted with its owner.

        Raises Conflict when it is gone, and Unavailable when the API is.
        """

    async def hold(self, kind: str, namespace: str, name: str, uid: str, *, held: bool) -> None:
        """Let the object of this uid stay after its deletion (a finalizer), or let go of it.

        Raises Conflict when it is gone, and Unavailable when the API is.
        """

    async def find_secret(self, namespace: str, name: str) -> SecretData | None:
        """The Secret, or None when there is none of that name."""

    async def find_config_map(self, namespace: str, name: str) -> ConfigMapData | None:
        """The ConfigMap, or None when there is none of that name."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the objects of a kind, and how to ask for those behind them; None: these were the last."""

    items: list[dict[str, Any]]
    marker: str | None = None


class Store(Protocol):
    """Where resources are made, changed and deleted for the user, by the Lambda API. Objects are in their wire form.

    Raises Conflict with the reasons NotFound, AlreadyExists, Conflict (somebody else wrote), Expired (a marker) or
    ReadOnly, InvalidSpec for what is refused, and Unavailable when nobody answers.
    """

    async def find(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """The object as it is now."""

    async def page(self, kind: str, namespace: str, limit: int = 0, marker: str | None = None) -> Page:
        """At most `limit` objects (0: all) of a namespace; `marker` is where the page before ended."""

    async def create(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Make it; returns it as it is then."""

    async def replace(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Put it in the place of the one that was read: metadata.resourceVersion says which."""

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete it."""
