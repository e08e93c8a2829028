"""What platform and agents say of instances, and what follows from it."""

from collections.abc import Callable

from funclet.adapters.instances.backend import Observed, Phase
from funclet.core.instances import Instance, State
from funclet.core.revision import Revision
from funclet.scaler.arrivals import Arrivals
from funclet.scaler.fleet import Fleet
from funclet.scaler.phases import note_phase
from funclet.scaler.pools import Pools
from funclet.scaler.reconciler import Reconciler
from funclet.scaler.setbacks import Setbacks
from funclet.scaler.sizes import Sizes


class Observer:
    """Keeps what is known of each instance true, and has its function or pool looked at again."""

    def __init__(
        self,
        functions: dict[str, Revision],
        fleet: Fleet,
        pools: Pools,
        sizes: Sizes,
        setbacks: Setbacks,
        reconciler: Reconciler,
        clock: Callable[[], float],
    ) -> None:
        self._functions = functions
        self._fleet = fleet
        self._pools = pools
        self._sizes = sizes
        self._setbacks = setbacks
        self._reconciler = reconciler
        self._clock = clock
        self._arrivals = Arrivals(self._arrived, self._missed)

    def found(self, instance: Instance, observed: Observed) -> None:
        """An instance from before, now known for what it is."""
        self._fleet.take_up(instance)
        self._look(instance, observed)
        self._reconciler.recognise(instance)

    def observe(self, observed: Observed) -> None:
        """An instance that is known has changed."""
        instance = self._fleet.register.by_name[observed.name]
        match observed.phase:
            case Phase.DEAD:
                self._lose(instance, "Died")
            case Phase.TERMINATING:
                self._fleet.evicted(instance)
                self._look_after(instance)
            case Phase.PENDING | Phase.RUNNING:
                self._look(instance, observed)

    def vanished(self, name: str) -> None:
        """An instance is no more."""
        instance = self._fleet.register.by_name.get(name)
        if instance is not None:
            self._count_loss(instance)
        self._fleet.vanished(name)
        if instance is not None:
            self._look_after(instance)

    async def stop(self) -> None:
        """Wait for no agent any more."""
        await self._arrivals.stop()

    def _look(self, instance: Instance, observed: Observed) -> None:
        self._sizes.note_granted(instance, observed.granted_memory_mib)
        self._fleet.note_stuck(instance, observed.obstacle)
        if instance.state is State.STARTING and observed.host is not None and observed.agent_port is not None:
            instance.host, instance.agent_port = observed.host, observed.agent_port
            self._arrivals.expect(instance)
        refusal = observed.resize_refusal
        if refusal is not None and self._sizes.is_misfit(instance, refusal):
            self._reconciler.misfit(instance, f"Resize{refusal}")

    def _arrived(self, instance: Instance) -> None:
        self._fleet.listens(instance)
        if instance.created_at is not None:
            note_phase(instance, "start", instance.created_at, self._clock())
        if instance.function is None:
            self._pools.note_started((instance.namespace, instance.runtime))
        self._look_after(instance)

    def _missed(self, instance: Instance) -> None:
        self._lose(instance, "NeverListened")

    def _lose(self, instance: Instance, reason: str) -> None:
        self._count_loss(instance)
        self._fleet.remove(instance, reason)
        self._look_after(instance)

    def _count_loss(self, instance: Instance) -> None:
        """An instance that ended before it served counts as a failure: its successor waits a little."""
        if instance.state in (State.READY, State.DRAINING):
            return
        if instance.function is None:
            self._pools.note_failure((instance.namespace, instance.runtime))
        elif revision := self._functions.get(instance.function):
            self._setbacks.count(revision, "InstanceDied", f"instance {instance.name} ended before it served")

    def _look_after(self, instance: Instance) -> None:
        if instance.function is None:
            self._reconciler.serve()
            self._pools.refill((instance.namespace, instance.runtime))
        else:
            self._reconciler.reconcile(instance.function)
