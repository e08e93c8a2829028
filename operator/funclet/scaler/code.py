"""What a specialisation needs, fetched before anybody waits for it: code packages and the values of Secrets."""

import asyncio
import logging
from collections import OrderedDict
from typing import Protocol

from funclet.adapters.resources import Resources
from funclet.core.revision import Revision
from funclet.errors import FuncletError, Unavailable

log = logging.getLogger(__name__)

CACHE_BYTES = 256 * 1024 * 1024
"""Two of the largest packages that Lambda allows, or thousands of ordinary ones."""


class Packages(Protocol):
    """What the scaler needs of the package store."""

    async def get(self, sha256: str) -> bytes:
        """A code package by its digest."""


class CodeCache:
    """Code packages by digest, the least recently used go first. Each is fetched once, however many wait for it."""

    def __init__(self, packages: Packages, limit_bytes: int = CACHE_BYTES) -> None:
        self._packages = packages
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._cached: OrderedDict[str, bytes] = OrderedDict()
        self._fetching: dict[str, asyncio.Task[bytes]] = {}

    @property
    def has_room(self) -> bool:
        """Whether a prefetch would not drive out what somebody has used."""
        return self._size_bytes < self._limit_bytes

    def has(self, sha256: str) -> bool:
        """Whether `get` would wait for nothing."""
        return sha256 in self._cached

    async def get(self, sha256: str) -> bytes:
        """The package; Unavailable when it cannot be fetched."""
        if (cached := self._cached.get(sha256)) is not None:
            self._cached.move_to_end(sha256)
            return cached
        if sha256 not in self._fetching:
            task = self._fetching[sha256] = asyncio.create_task(self._packages.get(sha256))
            task.add_done_callback(lambda done: self._keep(sha256, done))
        return await asyncio.shield(self._fetching[sha256])

    def _keep(self, sha256: str, task: asyncio.Task[bytes]) -> None:
        del self._fetching[sha256]
        if task.cancelled() or task.exception() is not None:
            return
        self._cached[sha256] = task.result()
        self._size_bytes += len(task.result())
        while self._size_bytes > self._limit_bytes and len(self._cached) > 1:
            _, dropped = self._cached.popitem(last=False)
            self._size_bytes -= len(dropped)


class Environments:
    """The environment variables of each function's newest revision, with the values of its Secrets."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._known: dict[str, tuple[str, dict[str, str]]] = {}

    def has(self, revision: Revision) -> bool:
        """Whether `get` would wait for nothing."""
        known = self._known.get(revision.key)
        return not revision.environment.secrets or (known is not None and known[0] == revision.revision)

    async def get(self, revision: Revision) -> dict[str, str]:
        """The variables of a revision; Unavailable when a Secret or its key is not there."""
        if not revision.environment.secrets:
            return dict(revision.environment.variables)
        known = self._known.get(revision.key)
        if known is None or known[0] != revision.revision:
            known = self._known[revision.key] = (revision.revision, await self._resolve(revision))
        return known[1]

    def forget(self, key: str) -> None:
        """Drop the values of a function that is no more."""
        self._known.pop(key, None)

    async def _resolve(self, revision: Revision) -> dict[str, str]:
        values = dict(revision.environment.variables)
        for variable, reference in revision.environment.secrets.items():
            secret = await self._resources.find_secret(revision.namespace, reference.name)
            if secret is None or reference.key not in secret.data:
                message = f"Secret {reference.name} has no key {reference.key} (variable {variable})"
                raise Unavailable(message, reason="SecretNotFound")
            values[variable] = secret.data[reference.key].decode(errors="surrogateescape")
        return values


class Ingredients:
    """Both, for a revision."""

    def __init__(self, code: CodeCache, environments: Environments) -> None:
        self._code = code
        self._environments = environments

    def are_at_hand(self, revision: Revision) -> bool:
        """Whether `load` would wait for nothing."""
        return all(map(self._code.has, revision.packages)) and self._environments.has(revision)

    async def load(self, revision: Revision) -> tuple[list[bytes], dict[str, str]]:
        """The packages (layers in their order, then the code) and the environment variables."""
        packages = [await self._code.get(sha256) for sha256 in revision.packages]
        return packages, await self._environments.get(revision)

    async def prefetch(self, revision: Revision) -> None:
        """Have them at hand when the first caller comes; a failure is met again, and told, when one does."""
        try:
            if self._code.has_room:
                for sha256 in revision.packages:
                    await self._code.get(sha256)
            await self._environments.get(revision)
        except FuncletError as error:
            log.warning("prefetch failed", extra={"function": revision.key, "reason": error.reason})

    def forget(self, key: str) -> None:
        """Drop what belongs to a function alone."""
        self._environments.forget(key)
