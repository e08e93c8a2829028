"""Keeps the pools as the catalog and the scaler's feed say."""

import asyncio
import time
from collections.abc import Iterable

from funclet.core.lambda_api import function_not_found, unavailable
from funclet.core.messages import Draining, FeedMessage, Gone, InstanceAddress, Ping, Ready, Refused, Snapshot
from funclet.core.revision import Revision
from funclet.core.spans import Birth
from funclet.gateway.call import Served
from funclet.gateway.demand import DemandReporter
from funclet.gateway.dispatch import Dispatcher


class InstanceBook:
    """Which instance belongs to which function. Every change goes to its pool at once."""

    def __init__(
        self, dispatcher: Dispatcher, demand: DemandReporter, loop: asyncio.AbstractEventLoop, region: str
    ) -> None:
        self._dispatcher = dispatcher
        self._loop = loop
        self._region = region
        self._owners: dict[str, Served] = {}
        self._demand = demand

    def change_function(self, key: str, revision: Revision | None) -> None:
        """The catalog's word: serve this revision from now on; None: the function is no more."""
        served = self._dispatcher.serve(key)
        served.revision = revision
        if revision is None:
            served.pool.switch(None, None)
            namespace, _, name = key.partition("/")
            self._dispatcher.refuse_waiting(served, function_not_found(self._region, namespace, name))
            self._dispatcher.discard_unused(served)
            return
        self._dispatcher.assign(served.pool.switch(revision.revision, revision.reserved_concurrency))
        self._touch(served)

    def apply(self, message: FeedMessage) -> None:
        """The scaler's word."""
        match message:
            case Snapshot():
                self._replace(message.instances)
            case Ready():
                self._add(message.instance, Birth(time.time_ns(), message.phases))
            case Draining():
                self._drain(message.instance)
            case Gone():
                self.remove(message.instance)
            case Refused():
                self._refuse(message)
            case Ping():
                pass

    def _replace(self, addresses: list[InstanceAddress]) -> None:
        """A snapshot. An instance that it does not name and that is busy may end its invocations first."""
        named = {address.name for address in addresses}
        for name, served in list(self._owners.items()):
            if name in named:
                continue
            if served.pool.instances[name].busy:
                served.pool.drain(name)
            else:
                self.remove(name)
        for address in addresses:
            self._add(address)
        for served in self._dispatcher.functions.values():
            self._touch(served)

    def _add(self, address: InstanceAddress, birth: Birth | None = None) -> None:
        served = self._dispatcher.serve(address.function)
        self._owners[address.name] = served
        calls = served.pool.add(address, self._loop.time())
        served.pool.instances[address.name].birth = birth
        self._dispatcher.assign(calls)
        self._touch(served)

    def _drain(self, name: str) -> None:
        served = self._owners.get(name)
        if served is not None:
            served.pool.drain(name)
            self._touch(served)
        else:
            self._demand.add_drained(name)

    def remove(self, name: str) -> None:
        """The instance is gone: what runs on it has failed."""
        served = self._owners.pop(name, None)
        if served is None:
            return
        for slot in served.pool.remove(name):
            if slot.channel is not None:
                slot.channel.close()
        self._touch(served)
        self._dispatcher.discard_unused(served)

    def remove_all(self, names: Iterable[str]) -> None:
        """The scaler knows that these are drained."""
        for name in names:
            self.remove(name)

    def close(self) -> None:
        """Drop all connections."""
        self.remove_all(list(self._owners))

    def _refuse(self, message: Refused) -> None:
        served = self._dispatcher.functions.get(message.function)
        if served is not None and served.pool.revision == message.revision:
            self._dispatcher.refuse_waiting(served, unavailable(f"{message.reason}: {message.message}"))

    def _touch(self, served: Served) -> None:
        self._demand.touch(served.pool)
