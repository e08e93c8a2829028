"""The scaler: the only writer of instances."""

import asyncio
import logging
import time
from collections.abc import Callable

from funclet.adapters.catalog import Catalog
from funclet.adapters.instances.backend import InstanceBackend, InstanceEvent, Observed, Phase, Synced, Vanished
from funclet.adapters.resources import Resources
from funclet.core.claims import ClaimQueue
from funclet.core.instances import Instance
from funclet.core.messages import DemandReport, Introduction
from funclet.core.pool import PoolLimits
from funclet.core.revision import Revision
from funclet.scaler.adoption import Adoption
from funclet.scaler.claims import Claims
from funclet.scaler.code import CodeCache, Environments, Ingredients, Packages
from funclet.scaler.ending_namespaces import EndingNamespaces
from funclet.scaler.feed import Feed, Reader
from funclet.scaler.fleet import Fleet
from funclet.scaler.observer import Observer
from funclet.scaler.pools import Pools
from funclet.scaler.reconciler import Reconciler
from funclet.scaler.server import Server
from funclet.scaler.setbacks import Setbacks
from funclet.scaler.settings import ScalerSettings
from funclet.scaler.sizes import Sizes
from funclet.scaler.specialiser import Specialiser
from funclet.scaler.workers import Workers
from funclet.scaler.writer import Writer

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
"""Between looks at the clock while any function has instances or demand; otherwise there are none."""
PREFETCH_LIMIT = 8


class Scaler:
    """The role. Whoever makes it runs the catalog (`Catalog.run`) and closes the backend."""

    def __init__(
        self,
        settings: ScalerSettings,
        catalog: Catalog,
        backend: InstanceBackend,
        packages: Packages,
        resources: Resources,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._backend = backend
        self._feed = Feed(clock)
        self._writer = Writer(backend)
        endings = EndingNamespaces(catalog.functions, clock)
        self._fleet = Fleet(settings.instance_secret, self._writer, self._feed, endings, clock)
        sizes, setbacks, queue = Sizes(self._writer, clock), Setbacks(self._feed, clock), ClaimQueue()
        limits = PoolLimits(settings.warm_pool_size, settings.warm_pool_maximum, settings.warm_pool_memory_mib)
        pools = Pools(limits, self._fleet, queue, clock)
        claims = Claims(catalog.functions, self._fleet, pools, queue, sizes, clock)
        self._reconciler = Reconciler(catalog.functions, self._fleet, pools, claims, sizes, setbacks, clock)
        self._observer = Observer(catalog.functions, self._fleet, pools, sizes, setbacks, self._reconciler, clock)
        self._ingredients = Ingredients(CodeCache(packages), Environments(resources))
        self._specialiser = Specialiser(self._fleet, self._ingredients, self._reconciler, settings.region, clock)
        self._adoption = Adoption(settings.instance_secret, self._found, self._stray, clock)
        self._prefetches = Workers(PREFETCH_LIMIT)
        self._began = asyncio.Event()
        self._listed = asyncio.Event()
        self._synced = False
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._server = Server(settings.internal_token, self._take_report, self._join, self._leave, self._began)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    @property
    def is_ready(self) -> bool:
        """Whether it knows all functions and instances, and acts."""
        return self._began.is_set()

    async def start(self) -> None:
        """Listen, and begin to act as soon as functions and instances are known."""
        self._catalog.on_function(self._function_changed)
        for key, revision in self._catalog.functions.items():
            self._function_changed(key, revision)
        await self._server.start(self._settings.host, self._settings.port)
        jobs = (self._follow_instances(), self._begin(), self._tick(), self._feed.watch())
        self._tasks = [asyncio.create_task(job) for job in jobs]
        for task in self._tasks:
            task.add_done_callback(_log_end)

    async def stop(self) -> None:
        """Stop acting; the instances go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.stop()
        for part in (self._prefetches, self._adoption, self._observer, self._specialiser, self._writer):
            await part.stop()

    async def _begin(self) -> None:
        await self._catalog.synced()
        await self._listed.wait()
        self._reconciler.begin(self._specialiser)
        self._began.set()
        self._wake.set()
        log.info("scaler began", extra={"functions": len(self._catalog.functions)})

    async def _follow_instances(self) -> None:
        async for event in self._backend.watch():
            try:
                self._take_event(event)
            except Exception:  # the outermost line of the loop
                log.exception("instance event not understood")
            self._settle_listing()
            self._wake.set()

    def _settle_listing(self) -> None:
        """All instances are known once they have been listed and the strangers among them have answered."""
        if self._synced and self._adoption.is_done:
            self._listed.set()

    def _take_event(self, event: InstanceEvent) -> None:
        match event:
            case Synced():
                self._synced = True
            case Vanished(name=name):
                self._adoption.forget(name)
                self._observer.vanished(name)
            case Observed() if self._fleet.is_ending(event.name):
                pass
            case Observed() if event.name in self._fleet.register.by_name:
                self._observer.observe(event)
            case Observed(phase=Phase.DEAD):
                self._fleet.delete_stray(event.namespace, event.name)
            case Observed(phase=Phase.TERMINATING):
                pass
            case Observed():
                self._adoption.adopt(event)

    def _found(self, instance: Instance, observed: Observed) -> None:
        self._observer.found(instance, observed)
        self._settle_listing()

    def _stray(self, observed: Observed) -> None:
        self._fleet.delete_stray(observed.namespace, observed.name)
        self._settle_listing()

    def _function_changed(self, key: str, revision: Revision | None) -> None:
        if revision is None:
            self._ingredients.forget(key)
        else:
            self._prefetches.submit(key, lambda: self._ingredients.prefetch(revision))
        self._reconciler.function_changed(key, revision)
        self._wake.set()

    def _take_report(self, report: DemandReport) -> None:
        self._feed.hear(report)
        self._reconciler.take_report(report)
        self._wake.set()

    def _join(self, reporter: str, introduction: Introduction | None, host: str) -> Reader:
        return self._feed.join(reporter, self._fleet.snapshot(), introduction, host)

    def _leave(self, reader: Reader) -> None:
        self._feed.leave(reader)

    async def _tick(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(TICK_SECONDS)
            try:
                self._reconciler.tick()
            except Exception:  # the outermost line of the loop
                log.exception("tick failed")
            if self._reconciler.is_busy:
                self._wake.set()


def _log_end(task: asyncio.Task[None]) -> None:
    """None of the role's tasks ends by itself."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("scaler stopped", exc_info=error)
