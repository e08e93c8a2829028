"""What is written on instances about themselves: for people, and for a scaler that starts anew.

Nothing waits for it: until then an agent can be asked. So while others wait for instances it waits itself, for API
server and kubelet would take CPU that callers wait for: 4 ms a pod.
"""

import json
from collections.abc import Callable

from funclet.api.pod import PodSettings
from funclet.core.instances import (
    REVISION_LABEL,
    SLOTS_ANNOTATION,
    STATE_LABEL,
    TIMEOUT_ANNOTATION,
    Instance,
    function_labels,
)
from funclet.scaler.writer import Writer

QUIET_SECONDS = 0.1
"""For how long nobody must have waited: in a burst the next callers are told of in a moment."""
LONGEST_SECONDS = 1.0
"""For how long it waits at most, however many wait for instances."""


class Labels:
    """Labels and annotations of ready and draining instances."""

    def __init__(self, writer: Writer, clock: Callable[[], float]) -> None:
        self._writer = writer
        self._clock = clock
        self._postponed: dict[str, tuple[Instance, PodSettings]] = {}
        self._quiet_since: float | None = None

    def postpone(self, instance: Instance, pod: PodSettings) -> None:
        """Write what a ready instance is in a quieter moment."""
        if not instance.written:
            self._postponed[instance.name] = (instance, pod)

    def write(self, *, quiet: bool) -> None:
        """Write what was postponed, once it is `quiet` for a while: nobody waits for an instance. Before that only what
        has waited for long: it is in the order of its time.
        """
        now = self._clock()
        self._quiet_since = (now if self._quiet_since is None else self._quiet_since) if quiet else None
        settled = self._quiet_since is not None and now - self._quiet_since >= QUIET_SECONDS
        for instance, pod in list(self._postponed.values()):
            if not settled and now - instance.since < LONGEST_SECONDS:
                return
            self._write(instance, pod)

    def write_draining(self, instance: Instance) -> None:
        """It takes nothing new."""
        if instance.name in self._postponed:
            self._write(*self._postponed[instance.name])
        self._writer.label(instance.namespace, instance.name, {STATE_LABEL: "draining"}, {})

    def forget(self, instance: Instance) -> None:
        """It is gone."""
        self._postponed.pop(instance.name, None)

    def _write(self, instance: Instance, pod: PodSettings) -> None:
        assert instance.function is not None
        self.forget(instance)
        instance.written = True
        labels = {
            **pod.labels,
            STATE_LABEL: "specialised",
            **function_labels(instance.function),
            REVISION_LABEL: instance.revision or "",
        }
        annotations = {
            **pod.annotations,
            SLOTS_ANNOTATION: json.dumps(list(instance.slots)),
            TIMEOUT_ANNOTATION: str(instance.timeout_seconds),
        }
        self._writer.label(instance.namespace, instance.name, labels, annotations)
