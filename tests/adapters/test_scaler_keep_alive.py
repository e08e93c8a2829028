"""Adaptive keep-alive with real agents: a function that is called on a schedule is there before the call."""

from pathlib import Path

from tests.adapters.scaler_world import World, running_scaler

from funclet.core.messages import InstanceUse

PERIOD_SECONDS = 600.0
TIMEOUT_SECONDS = 60


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def call_and_let_go(world: World, clock: Clock) -> None:
    """One call that finds no instance, and the instance's end; a tenth of a second and the period's rest pass."""
    await world.report("hello", queued=1)
    [address] = await world.until_ready("r1")
    clock.now += 0.1
    await world.report("hello", instances={address.name: InstanceUse(busy=0, uses=1, idle_seconds=0.05)})
    clock.now += TIMEOUT_SECONDS
    use = InstanceUse(busy=0, uses=1, idle_seconds=TIMEOUT_SECONDS + 0.05)
    await world.report("hello", instances={address.name: use})
    await world.until(lambda: any(m.type == "DRAINING" and m.instance == address.name for m in world.messages))
    await world.report("hello", drained=(address.name,))
    await world.until(lambda: any(m.type == "GONE" and m.instance == address.name for m in world.messages))


async def test_a_scheduled_function_is_started_before_its_call(tmp_path: Path) -> None:
    clock = Clock()
    async with running_scaler(tmp_path, clock=clock) as world:
        world.apply("hello", "r1", scaling={"keepAlive": "Adaptive", "idleTimeoutSeconds": TIMEOUT_SECONDS})
        for _ in range(5):
            called_at = clock.now
            await call_and_let_go(world, clock)
            clock.now = called_at + PERIOD_SECONDS - 10
            assert not world.ready
            clock.now = called_at + PERIOD_SECONDS
        [address] = await world.until_ready("r1")  # nobody has asked
        assert await world.invoke(address, 1)


async def test_a_fixed_function_is_not_started_before_its_call(tmp_path: Path) -> None:
    clock = Clock()
    async with running_scaler(tmp_path, clock=clock) as world:
        world.apply("hello", "r1", scaling={"idleTimeoutSeconds": TIMEOUT_SECONDS})
        for _ in range(5):
            called_at = clock.now
            await call_and_let_go(world, clock)
            clock.now = called_at + PERIOD_SECONDS
        world.apply("other", "r2")
        await world.report("other", queued=1)
        await world.until_ready("r2")
        assert {address.revision for address in world.ready.values()} == {"r2"}
