"""What the scaler needs of whatever runs instances: pods on a cluster, processes in local mode."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from funclet.core.instances import InstanceRequest

NAMESPACE_TERMINATING = "NamespaceTerminating"
"""The reason of a `create` that was refused because the namespace is being deleted."""


class Phase(StrEnum):
    """What the backend sees of an instance."""

    PENDING = "pending"
    RUNNING = "running"
    TERMINATING = "terminating"
    """Somebody has asked for its end: it takes nothing new."""
    DEAD = "dead"


class ResizeResult(StrEnum):
    """How a resize was answered."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """It cannot be done, now or ever; whether a node has room shows later, in `Observed.resize_refusal`."""


@dataclass(frozen=True, slots=True)
class Observed:
    """An instance as it is now."""

    namespace: str
    name: str
    phase: Phase
    host: str | None = None
    agent_port: int | None = None
    memory_mib: int = 0
    limit_mib: int = 0
    """How much memory it may take, as was asked for; 0: `memory_mib`."""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    granted_memory_mib: int = 0
    """The limit that is in force in the running instance; 0 while that is not known."""
    resize_refusal: str | None = None
    """Why its node does not give it the size that was asked for."""
    obstacle: tuple[str, str] | None = None
    """Why it does not start, as reason and message: no node takes it, or its image cannot be had."""


@dataclass(frozen=True, slots=True)
class Vanished:
    """An instance is no more."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Synced:
    """All instances that were there at the start have been told."""


InstanceEvent = Observed | Vanished | Synced


class InstanceBackend(Protocol):
    """Starts, changes and ends instances. Every method raises Unavailable when the platform cannot do it now."""

    async def create(self, request: InstanceRequest) -> None:
        """Start an instance. One that is there already is no error."""

    async def delete(self, namespace: str, name: str, grace_seconds: int) -> None:
        """End an instance. One that is gone already is no error."""

    async def label(self, namespace: str, name: str, labels: dict[str, str], annotations: dict[str, str]) -> None:
        """Merge labels and annotations. An instance that is gone is no error."""

    async def resize(self, namespace: str, name: str, memory_mib: int, limit_mib: int) -> ResizeResult:
        """Give a running instance another memory size, with its share of a CPU, and another limit."""

    def watch(self) -> AsyncIterator[InstanceEvent]:
        """All instances, Synced, then every change; it ends with the backend alone."""

    async def close(self) -> None:
        """Let go of what the backend holds itself."""
