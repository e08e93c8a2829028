"""Namespaces that are being deleted: the API server takes no pod there any more, and nothing brings them back.

It is the API server's refusal that tells, so the scaler needs no right to read namespaces. One of the same name is
another namespace, which shows by a Function that was not there before: in one that ends, none can be created.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from funclet.core.revision import Revision

log = logging.getLogger(__name__)

LEFT_ALONE_SECONDS = 60.0
"""The API server may have spoken of the namespace that was there before: then it is asked again, without a word."""


@dataclass(slots=True)
class _Ending:
    uids: frozenset[str]
    """Of its functions."""
    until: float


class EndingNamespaces:
    """Where nothing is started."""

    def __init__(self, functions: Mapping[str, Revision], clock: Callable[[], float]) -> None:
        self._functions = functions
        self._clock = clock
        self._endings: dict[str, _Ending] = {}

    def has(self, namespace: str) -> bool:
        """Whether to leave it alone."""
        ending = self._endings.get(namespace)
        return ending is not None and self._clock() < ending.until

    def note(self, namespace: str) -> None:
        """The API server has refused a pod there."""
        if namespace not in self._endings:
            log.info("namespace is being deleted: nothing is started there", extra={"namespace": namespace})
        self._endings[namespace] = _Ending(frozenset(self._uids(namespace)), self._clock() + LEFT_ALONE_SECONDS)

    def follow(self, key: str, revision: Revision | None) -> None:
        """A function has come, changed or gone."""
        namespace = key.partition("/")[0]
        ending = self._endings.get(namespace)
        if ending is None:
            return
        is_another = revision is not None and revision.uid not in ending.uids
        if is_another or (revision is None and not self._uids(namespace)):
            del self._endings[namespace]

    def _uids(self, namespace: str) -> set[str]:
        return {revision.uid for revision in self._functions.values() if revision.namespace == namespace}
