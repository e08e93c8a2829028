"""A gateway of its own process, which keeps a usage journal: python -m tests.adapters.usage_gateway NATS JOURNAL PORT…

It serves the function `default/hello`, whose instances have a slot at each port, and prints its own port.
"""

import asyncio
import sys
from pathlib import Path

from tests.adapters.gateway_world import Catalog, Scaler, make_revision, until

from funclet.adapters.metrics import INVOCATIONS
from funclet.adapters.scaler_client import ScalerClient
from funclet.adapters.usage_journal import UsageJournal
from funclet.core.messages import InstanceAddress
from funclet.gateway.role import Gateway
from funclet.gateway.settings import GatewaySettings
from funclet.gateway.usage import UsageReporter


async def serve(nats_url: str, journal: str, *slots: str) -> None:
    scaler, catalog = Scaler(), Catalog()
    await scaler.start()
    scaler.instances += [
        InstanceAddress(
            name=f"i{port}", function="default/hello", revision="r1", host="127.0.0.1", slots=[int(port)], token="t"
        )
        for port in slots
    ]
    catalog.put(make_revision())
    url = f"http://127.0.0.1:{scaler.port}"
    settings = GatewaySettings(internal_token="internal", scaler_url=url, port=0, host="127.0.0.1")
    usage = UsageReporter(INVOCATIONS, UsageJournal(Path(journal)), nats_url)
    await usage.start()
    gateway = Gateway(settings, catalog, ScalerClient(url, "internal", "gateway-0"))
    await gateway.start()
    await until(lambda: bool(scaler.readers))
    print(gateway.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
