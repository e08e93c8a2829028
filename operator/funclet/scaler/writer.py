"""Everything that is written to the backend: in the background, so many at a time, tried again until it is done."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from funclet.adapters.instances.backend import NAMESPACE_TERMINATING, InstanceBackend, ResizeResult
from funclet.core.backoff import Backoff
from funclet.core.instances import InstanceRequest
from funclet.errors import FuncletError, InvalidSpec, Unavailable
from funclet.scaler.workers import Workers

log = logging.getLogger(__name__)

LIMIT = 16
"""Calls of the API server at a time: twenty pods at once take a kubelet seconds anyway."""
BACKOFF = Backoff(base_seconds=0.2, cap_seconds=30.0)
ATTEMPTS = 8
"""For what can be left undone: labels. Deletions and sizes are tried until they are done."""

LANE_SIZES, LANE_WAITING, LANE_ENDING, LANE_LABELS, LANE_POOL = range(5)
"""The size of what runs already comes first, then instances that somebody waits for; the pool comes last."""

Write = Callable[[], Awaitable[None]]


class Writer:
    """The only way to the backend's writing methods."""

    def __init__(self, backend: InstanceBackend) -> None:
        self._backend = backend
        self._workers = Workers(LIMIT)
        self._creations: dict[str, _Creation] = {}
        """By the instance's name, until they have ended."""

    def create(
        self,
        request: InstanceRequest,
        *,
        key: str,
        waiting: bool,
        on_created: Callable[[], None],
        on_failed: Callable[[FuncletError], None],
    ) -> None:
        """Create an instance, once; `on_failed` is told why that was not possible.

        One that is deleted before its turn is never created.
        """
        creation = self._creations[request.name] = _Creation()

        async def write() -> None:
            if creation.deletion is None:
                await self._create(request, creation, on_created, on_failed)
            else:
                del self._creations[request.name]

        self._workers.submit(key, write, LANE_WAITING if waiting else LANE_POOL)

    def delete(self, namespace: str, name: str, grace_seconds: int) -> None:
        """Delete an instance, however long it takes until the platform does it.

        A deletion can be there before the creation that is on its way, and find nothing: then it is done once more.
        """
        deletion = _Attempt("delete", name, lambda: self._backend.delete(namespace, name, grace_seconds), LANE_ENDING)
        creation = self._creations.get(name)
        if creation is not None:
            creation.deletion = deletion
        if creation is None or creation.has_begun:
            self._attempt(deletion)

    def label(self, namespace: str, name: str, labels: dict[str, str], annotations: dict[str, str]) -> None:
        """Write down what an instance is."""
        self._try("label", name, lambda: self._backend.label(namespace, name, labels, annotations), LANE_LABELS)

    def resize(
        self, namespace: str, name: str, memory_mib: int, limit_mib: int, on_answer: Callable[[bool], None]
    ) -> None:
        """Ask for another size; `on_answer` is told whether the platform agreed to try, as soon as it said so."""

        async def write() -> None:
            on_answer(await self._backend.resize(namespace, name, memory_mib, limit_mib) is ResizeResult.ACCEPTED)

        self._try("resize", name, write, LANE_SIZES)

    async def stop(self) -> None:
        """Give up what is not done."""
        await self._workers.stop()

    async def _create(
        self,
        request: InstanceRequest,
        creation: "_Creation",
        on_created: Callable[[], None],
        on_failed: Callable[[FuncletError], None],
    ) -> None:
        creation.has_begun = True
        try:
            await self._backend.create(request)
        except (Unavailable, InvalidSpec) as error:
            if error.reason != NAMESPACE_TERMINATING:
                log.warning("instance not created", extra={"instance": request.name, "detail": error.message})
            on_failed(error)
        else:
            on_created()
        finally:
            del self._creations[request.name]
        if creation.deletion is not None:
            self._attempt(creation.deletion)

    def _try(self, verb: str, name: str, write: Write, lane: int) -> None:
        self._attempt(_Attempt(verb, name, write, lane))

    def _attempt(self, attempt: "_Attempt") -> None:
        async def job() -> None:
            try:
                await attempt.write()
            except (Unavailable, InvalidSpec) as error:
                self._retry(attempt, error.message)

        if attempt.number == 1:
            self._workers.submit(attempt.name, job, attempt.lane)
        else:
            self._workers.submit_later(BACKOFF.delay(attempt.number - 1), attempt.name, job, attempt.lane)

    def _retry(self, attempt: "_Attempt", message: str) -> None:
        fields = {"verb": attempt.verb, "instance": attempt.name, "attempt": attempt.number, "detail": message}
        log.warning("write failed", extra=fields)
        if attempt.number < ATTEMPTS or attempt.verb != "label":
            self._attempt(replace(attempt, number=attempt.number + 1))


@dataclass(frozen=True, slots=True)
class _Attempt:
    verb: str
    name: str
    write: Write
    lane: int
    number: int = 1


@dataclass(slots=True)
class _Creation:
    has_begun: bool = False
    deletion: _Attempt | None = None
    """What was asked for meanwhile."""
