"""The role events: a runner for each Trigger with a queue, in step with the catalog; schedules; asynchronous events."""

import asyncio
import logging

from nats.aio.client import Client

from funclet.adapters.catalog import Catalog
from funclet.adapters.event_store import EventStore
from funclet.adapters.gateway_client import GatewayClient
from funclet.adapters.metrics import forget_trigger
from funclet.adapters.otlp.exporter import SpanExporter
from funclet.adapters.scaler_client import ScalerClient
from funclet.adapters.schedule_journal import ScheduleJournal
from funclet.adapters.sqs import SqsClient
from funclet.adapters.sqs_access import Secrets, SqsAccess
from funclet.api.trigger import Trigger
from funclet.core.messages import Draining, FeedMessage
from funclet.core.qualifiers import AliasRoute, function_key
from funclet.core.resolve import invoked_by
from funclet.events.asynchronous import AsynchronousInvocations
from funclet.events.cancellation import cancel
from funclet.events.demand import DemandLedger, report_forever
from funclet.events.runner import Runner, RunnerSpec
from funclet.events.schedules import Schedules, plan_schedule
from funclet.events.settings import EventsSettings
from funclet.events.slots import Slots
from funclet.events.sources import Sources, plan_runner
from funclet.events.tracing import EventTracer

log = logging.getLogger(__name__)

NOWHERE = AliasRoute("")


class Events:
    """Starts and stops runners as Triggers and Functions change. The catalog is run by whoever made it.

    With `spans` what runs is recorded.
    """

    def __init__(
        self,
        settings: EventsSettings,
        catalog: Catalog,
        nats: Client,
        gateway_client: GatewayClient,
        scaler_client: ScalerClient,
        secrets: Secrets,
        spans: SpanExporter | None = None,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._nats = nats
        self._gateway = gateway_client
        self._scaler = scaler_client
        self._sources = Sources(nats, SqsAccess(secrets, SqsClient(settings.sqs_polls), settings.region))
        self._slots = Slots()
        self._ledger = DemandLedger()
        self._runners: dict[str, Runner] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._triggers_of: dict[str, set[str]] = {}
        """Keys of Triggers by function. May name some that are gone or changed: reconciling those does no harm."""
        self._retiring: set[asyncio.Task[None]] = set()
        self._running = False
        self._tracer = EventTracer(spans)
        self._asynchronous = AsynchronousInvocations(
            settings, catalog, nats, gateway_client, self._slots, self._ledger, self._tracer
        )
        self._schedules = Schedules(EventStore(nats), ScheduleJournal(nats, settings.stream_replicas), settings.region)
        catalog.on_trigger(lambda key, _: self._reconcile(key))
        catalog.on_function(lambda key, _: self._reconcile_function(key))
        catalog.on_alias(self._reconcile_function)

    async def start(self) -> None:
        """Follows the scaler's feed, reports, and runs what the catalog has."""
        self._running = True
        self._tasks = [
            asyncio.create_task(self._scaler.follow(self._apply), name="feed"),
            asyncio.create_task(report_forever(self._ledger, self._scaler, self._scaler.reporter), name="demand"),
        ]
        self._asynchronous.start()
        self._schedules.start()
        for key in list(self._catalog.triggers):
            self._reconcile(key)

    async def stop(self) -> None:
        """Ends all runners in order; what their batches hold and cannot finish is delivered again later."""
        self._running = False
        for key in list(self._runners):
            self._retire(key)
        await self._schedules.stop()
        await asyncio.gather(self._asynchronous.stop(), *self._retiring)
        await self._sources.close()
        await cancel(self._tasks)

    def _apply(self, message: FeedMessage) -> None:
        """The scaler's word. This role holds no connection to an instance, so it lets go of a draining one at once."""
        self._slots.apply(message)
        if isinstance(message, Draining):
            self._ledger.let_go(message.instance)

    def _reconcile_function(self, function: str) -> None:
        """Of a version or an alias: whatever Triggers its function has."""
        for key in tuple(self._triggers_of.get(function_key(function), ())):
            self._reconcile(key)
            if key in self._runners:
                self._runners[key].notice()  # a new revision has slots of its own

    def _reconcile(self, key: str) -> None:
        """Makes what runs for this Trigger what should run, whatever happened before."""
        if not self._running:
            return
        trigger = self._catalog.triggers.get(key)
        route = self._find_route(key, trigger) if trigger else NOWHERE
        revision = self._catalog.functions.get(route.heavier)
        schedule = plan_schedule(key, trigger, route) if trigger and revision else None
        if schedule is not None:
            self._schedules.put(schedule)
        else:
            self._schedules.remove(key, deleted=trigger is None)
        wanted = plan_runner(key, trigger, revision, self._settings.region) if trigger else None
        running = self._runners.get(key)
        if running is not None and running.spec == wanted:
            return
        if running is not None:
            self._retire(key)
        if wanted is not None:
            self._begin(wanted)
        elif trigger is None:
            forget_trigger(key)

    def _find_route(self, key: str, trigger: Trigger) -> AliasRoute:
        named = invoked_by(trigger)
        self._triggers_of.setdefault(function_key(named), set()).add(key)
        return self._catalog.aliases.get(named) or AliasRoute(named)

    def _begin(self, spec: RunnerSpec) -> None:
        runner = Runner(
            spec,
            self._sources.opener(spec),
            self._gateway,
            slots=lambda: self._usable_slots(spec.function),
            report=lambda backlog: self._ledger.put(spec.function, spec.trigger, backlog),
            tracer=self._tracer,
        )
        self._runners[spec.trigger] = runner
        self._slots.listen(spec.function, runner.notice)
        runner.start()
        log.info(
            "trigger started", extra={"trigger": spec.trigger, "function": spec.function, "source": spec.place.name}
        )

    def _retire(self, key: str) -> None:
        runner = self._runners.pop(key)
        runner.halt()
        self._slots.forget(runner.spec.function, runner.notice)
        self._ledger.remove(runner.spec.function, key)
        task = asyncio.create_task(runner.stop(self._settings.stop_seconds), name=f"retire {key}")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
        log.info("trigger stopped", extra={"trigger": key})

    def _usable_slots(self, function: str) -> int:
        revision = self._catalog.functions.get(function)
        return 0 if revision is None else self._slots.count(function, revision.revision)
