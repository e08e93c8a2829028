"""What the gateway meters, and the port that tells it."""

import httpx
from prometheus_client import CollectorRegistry
from tests.adapters.gateway_world import make_revision, running

from funclet.adapters.health import HealthServer
from funclet.adapters.metrics import INSTANCES, InvocationMeters, forget_function


async def test_an_invocation_is_metered_and_a_deleted_function_forgotten() -> None:
    health = HealthServer(0, host="127.0.0.1")
    await health.start()
    url = f"http://127.0.0.1:{health.port}"
    async with running() as world, httpx.AsyncClient() as client:
        world.catalog.put(make_revision("metered"))
        world.announce(await world.slot(), function="metered")
        for number in range(3):
            assert (await world.invoke(number, function="metered")).status_code == 200
        INSTANCES.labels("default", "metered", "$LATEST", "busy").set(1)
        text = (await client.get(f"{url}/metrics")).text
        lines = {
            line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if "metered" in line
        }
        figures = {name.partition("{")[0]: value for name, value in lines.items() if "bucket" not in name}
        assert figures["funclet_billed_milliseconds_total"] == 6
        assert figures["funclet_gb_seconds_total"] == 128 / 1024 * 6 / 1000
        assert figures["funclet_invocation_duration_seconds_count"] == 3
        assert any(value == 3 for name, value in lines.items() if 'outcome="ok"' in name)
        forget_function("default/metered")
        assert "metered" not in (await client.get(f"{url}/metrics")).text
        assert (await client.get(f"{url}/healthz")).status_code == 200
        assert (await client.get(f"{url}/readyz")).status_code == 200
    await health.stop()


async def test_not_ready_is_503() -> None:
    health = HealthServer(0, ready=lambda: False, host="127.0.0.1")
    await health.start()
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{health.port}/readyz")).status_code == 503
    await health.stop()


def test_meters_count_throttles_by_reason() -> None:
    registry = CollectorRegistry()
    meters = InvocationMeters(registry)
    meters.of("n/f").throttle("Why")
    labels = {"namespace": "n", "function": "f", "version": "$LATEST", "reason": "Why"}
    assert registry.get_sample_value("funclet_throttles_total", labels) == 1


def test_functions_that_nobody_calls_have_no_series() -> None:
    registry = CollectorRegistry()
    meters = InvocationMeters(registry)
    for number in range(100):
        meters.of(f"n/idle-{number}")
    meters.of("n/f").count_run(900, 1, 128, failed=False)
    functions = {sample.labels["function"] for family in registry.collect() for sample in family.samples}
    assert functions == {"f"}
