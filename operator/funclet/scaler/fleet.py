"""The fleet: every step of an instance's life, told to those who must know (register, gateways, backend, log)."""

import logging
import secrets
from collections.abc import Callable

from funclet.adapters.instances.backend import NAMESPACE_TERMINATING
from funclet.api.pod import PodSettings
from funclet.core import tokens
from funclet.core.images import ImageFunction
from funclet.core.instances import (
    REVISION_LABEL,
    RUNTIME_LABEL,
    STATE_LABEL,
    Instance,
    InstanceRequest,
    Register,
    State,
    Step,
    Stuck,
    function_labels,
)
from funclet.core.messages import Draining, Gone, InitializationType, InstanceAddress, Ready, Snapshot
from funclet.core.pool import POOL_EPHEMERAL_STORAGE_MIB, POOL_MEMORY_MIB, POOL_TIMEOUT_SECONDS, Pool
from funclet.core.revision import Revision, image_function
from funclet.core.scaling import initialization_type, policy_of
from funclet.errors import FuncletError
from funclet.scaler.ending_namespaces import EndingNamespaces
from funclet.scaler.feed import Feed
from funclet.scaler.labels import Labels
from funclet.scaler.phases import note_phase, phases_before
from funclet.scaler.writer import Writer

log = logging.getLogger(__name__)

DRAIN_MARGIN_SECONDS = 10.0
GRACE_SECONDS = 2
"""For the end of an instance that serves nobody."""

NotCreated = Callable[[Instance, str], None]
"""Told of an instance that could not be made, and why."""


class Fleet:
    """All instances and what can be done to them. Synchronous: the writing itself happens in the background."""

    def __init__(
        self, secret: str, writer: Writer, feed: Feed, endings: EndingNamespaces, clock: Callable[[], float]
    ) -> None:
        self.register = Register()
        self.endings = endings
        self.feed = feed
        self.labels = Labels(writer, clock)
        self._secret = secret
        self._writer = writer
        self._clock = clock
        self._ending: set[str] = set()

    def start_generic(self, pool: Pool, limit_mib: int, on_failed: NotCreated, *, awaited: bool) -> None:
        """A new instance for the pool; `awaited` says that somebody waits for it already."""
        namespace, runtime = pool
        instance = Instance(
            _new_name(runtime), namespace, runtime, POOL_MEMORY_MIB, since=self._clock(), limit_mib=limit_mib
        )
        labels = {RUNTIME_LABEL: runtime, STATE_LABEL: "generic"}
        request = self._request(instance, labels, POOL_EPHEMERAL_STORAGE_MIB, PodSettings())
        self._start(instance, request, on_failed, awaited=awaited)

    def raise_limits(self, pool: Pool, limit_mib: int) -> None:
        """What waits in the pool may become a larger function. Where that fails, such a one waits for its resize."""
        for instance in self.register.of_pool(pool):
            if (instance.limit_mib or instance.memory_mib) < limit_mib and instance.state is State.GENERIC:
                instance.limit_mib = limit_mib
                self._writer.resize(instance.namespace, instance.name, instance.memory_mib, limit_mib, lambda _: None)

    def start_for(self, revision: Revision, on_failed: NotCreated, asked_at: float | None = None) -> None:
        """A new instance of the function's own size; it belongs to the function from the start."""
        instance = Instance(
            _new_name(revision.runtime), revision.namespace, revision.runtime, revision.memory_mib, since=self._clock(),
            function=revision.key, revision=revision.revision, timeout_seconds=revision.timeout_seconds,
            initialization_type=self._initialization_type(revision), asked_at=asked_at,
        )  # fmt: skip
        labels = {
            RUNTIME_LABEL: revision.runtime,
            STATE_LABEL: "generic",
            **function_labels(revision.key),
            REVISION_LABEL: revision.revision,
        }
        image = image_function(revision, instance.initialization_type)
        request = self._request(instance, labels, revision.ephemeral_storage_mib, revision.pod, image)
        self._start(instance, request, on_failed, awaited=True)

    def take_up(self, instance: Instance) -> None:
        """An instance that was there before this scaler."""
        self.register.add(instance)
        if instance.state is State.READY:
            self.feed.send(Ready(instance=self.address(instance)))
        elif instance.state is State.DRAINING:
            self._set_drain_limit(instance)
        self._log("instance found", instance, state=instance.state)

    def claim(self, instance: Instance, revision: Revision) -> None:
        """Give a generic instance to a function."""
        instance.initialization_type = self._initialization_type(revision)
        self.register.claim(instance, revision.key, revision.revision)
        instance.timeout_seconds = revision.timeout_seconds
        self._log("instance claimed", instance)

    def _initialization_type(self, revision: Revision) -> InitializationType:
        others = len(self.register.serving_soon(revision.key, revision.revision))
        return initialization_type(policy_of(revision), others)

    def recognise(self, instance: Instance, revision: Revision) -> None:
        """Its function's revision is known: how long it may run, and what is still to be written down."""
        instance.timeout_seconds = revision.timeout_seconds
        if instance.state is State.READY:
            self.labels.postpone(instance, revision.pod)
        elif instance.state is State.DRAINING:
            self._set_drain_limit(instance)

    def note_stuck(self, instance: Instance, obstacle: tuple[str, str] | None) -> None:
        """The platform says why it does not start (reason and message), or nothing of that kind."""
        if obstacle is None:
            instance.stuck = None
        else:
            instance.stuck = Stuck(*obstacle, since=instance.stuck.since if instance.stuck else self._clock())

    def listens(self, instance: Instance) -> None:
        """Its agent can be reached: it can be specialised."""
        instance.advance(Step.LISTENS, self._clock())
        self._log("instance started", instance)

    def ready(self, instance: Instance, slots: tuple[int, ...], revision: Revision) -> None:
        """The agent has the code: the gateways first, the labels in a quiet moment."""
        instance.slots = slots
        now = self._clock()
        instance.advance(Step.ACCEPTED, now)
        self.feed.send(Ready(instance=self.address(instance), phases=phases_before(instance, now)))
        self._log("instance ready", instance)
        self.labels.postpone(instance, revision.pod)

    def misfit(self, instance: Instance, reason: str) -> None:
        """It cannot have its function's size, so it may not serve."""
        match instance.state:
            case State.READY:
                self.drain(instance, reason)
            case State.STARTING | State.GENERIC | State.SPECIALISING:
                self.remove(instance, reason)
            case State.DRAINING | State.GONE:
                pass

    def drain(self, instance: Instance, reason: str) -> None:
        """Nothing new for it; it goes when what runs on it has ended."""
        if instance.state is not State.READY:
            return
        instance.advance(Step.DRAIN, self._clock())
        self._set_drain_limit(instance)
        instance.holders = frozenset(self.feed.holders())
        self.feed.send(Draining(instance=instance.name))
        self._log("instance draining", instance, reason=reason)
        self.labels.write_draining(instance)

    def retire(self, instance: Instance, reason: str) -> None:
        """End it as its state allows; one that is being specialised is ended when that is over."""
        match instance.state:
            case State.READY:
                self.drain(instance, reason)
            case State.STARTING | State.GENERIC:
                self.remove(instance, reason)
            case State.SPECIALISING | State.DRAINING | State.GONE:
                pass

    def note_drained(self, name: str, reporter: str) -> None:
        """A gateway uses this instance no more."""
        instance = self.register.by_name.get(name)
        if instance is not None and instance.state is State.DRAINING:
            instance.drained_by.add(reporter)
            self.settle_drain(instance)

    def settle_drain(self, instance: Instance) -> None:
        """Remove a draining instance once every holder has let go of it, or its time is over."""
        if instance.state is not State.DRAINING or instance.drain_until is None:
            return
        still_held = (instance.holders & self.feed.holders()) - instance.drained_by
        if instance.holders and not still_held:
            self.remove(instance, "Drained")
        elif self._clock() >= instance.drain_until:
            self.remove(instance, "DrainTimeout")

    def remove(self, instance: Instance, reason: str) -> None:
        """Delete it."""
        if instance.state is State.GONE:
            return
        self._ending.add(instance.name)
        self._writer.delete(instance.namespace, instance.name, GRACE_SECONDS)
        self._forget(instance, reason)

    def vanished(self, name: str) -> Instance | None:
        """The backend says that it is gone; returns it if that was news."""
        self._ending.discard(name)
        instance = self.register.by_name.get(name)
        if instance is not None:
            self._forget(instance, "Vanished")
        return instance

    def evicted(self, instance: Instance) -> None:
        """Somebody else ends it: it finishes what it has and takes nothing new."""
        if instance.state is State.READY:
            self.drain(instance, "Evicted")
        elif instance.state is not State.DRAINING:
            self._ending.add(instance.name)
            self._forget(instance, "Evicted")

    def delete_stray(self, namespace: str, name: str) -> None:
        """Delete something of ours that serves nothing and is not in the register."""
        self._ending.add(name)
        self._writer.delete(namespace, name, GRACE_SECONDS)

    def is_ending(self, name: str) -> bool:
        """Whether its end was asked for, so that what is still seen of it means nothing."""
        return name in self._ending

    def address(self, instance: Instance) -> InstanceAddress:
        """What a gateway needs to invoke it."""
        assert instance.host is not None
        assert instance.function is not None
        return InstanceAddress(
            name=instance.name,
            function=instance.function,
            revision=instance.revision or "",
            host=instance.host,
            slots=list(instance.slots),
            token=tokens.invoke_token(self._secret, instance.name),
        )

    def snapshot(self) -> Snapshot:
        """All instances that may be used."""
        ready = (instance for instance in self.register.by_name.values() if instance.state is State.READY)
        return Snapshot(instances=[self.address(instance) for instance in ready])

    def specialise_token(self, instance: Instance) -> str:
        """What opens its agent."""
        return tokens.specialise_token(self._secret, instance.name)

    def _set_drain_limit(self, instance: Instance) -> None:
        instance.drain_until = instance.since + instance.timeout_seconds + DRAIN_MARGIN_SECONDS

    def _start(self, instance: Instance, request: InstanceRequest, on_failed: NotCreated, *, awaited: bool) -> None:
        began = self._clock()

        def created() -> None:
            instance.created_at = self._clock() if awaited else None
            if awaited:
                note_phase(instance, "create", began, self._clock())

        def failed(error: FuncletError) -> None:
            if error.reason == NAMESPACE_TERMINATING:
                self.endings.note(instance.namespace)
            if instance.state is State.GONE:
                return  # it was given up meanwhile: that is why
            # The answer may have been lost: it is deleted in case that it was made.
            self.remove(instance, "NotCreated")
            on_failed(instance, error.message)

        self.register.add(instance)
        self._log("instance requested", instance)
        key = instance.function or f"{instance.namespace}/{instance.runtime}"
        self._writer.create(request, key=key, waiting=awaited, on_created=created, on_failed=failed)

    def _request(
        self,
        instance: Instance,
        labels: dict[str, str],
        ephemeral_storage_mib: int,
        pod: PodSettings,
        image: ImageFunction | None = None,
    ) -> InstanceRequest:
        return InstanceRequest(
            name=instance.name,
            namespace=instance.namespace,
            runtime=instance.runtime,
            memory_mib=instance.memory_mib,
            limit_mib=instance.limit_mib,
            ephemeral_storage_mib=ephemeral_storage_mib,
            timeout_seconds=instance.timeout_seconds if instance.function else POOL_TIMEOUT_SECONDS,
            specialise_token_sha256=tokens.token_digest(self.specialise_token(instance)),
            invoke_token_sha256=tokens.token_digest(tokens.invoke_token(self._secret, instance.name)),
            labels=labels,
            annotations={},
            pod=pod,
            image=image,
        )

    def _forget(self, instance: Instance, reason: str) -> None:
        was_announced = instance.state in (State.READY, State.DRAINING)
        self.register.remove(instance, self._clock())
        self.labels.forget(instance)
        if was_announced:
            self.feed.send(Gone(instance=instance.name))
        self._log("instance gone", instance, reason=reason)

    def _log(self, message: str, instance: Instance, **fields: str) -> None:
        names = {"instance": instance.name, "namespace": instance.namespace}
        log.info(message, extra={**names, "function": instance.function, "revision": instance.revision, **fields})


def _new_name(runtime: str) -> str:
    """A pod's name; tokens derive from it, so it is never used twice."""
    return f"{runtime.replace('.', '')}-{secrets.token_hex(5)}"
