"""Which functions the scaler keeps a history of, and when they are due."""

from dataclasses import dataclass, replace

import pytest

from funclet.api.function import Environment
from funclet.api.pod import PodSettings
from funclet.core.demand import DemandBook
from funclet.core.instances import Instance, State
from funclet.core.messages import DemandReport, FunctionDemand, InstanceUse
from funclet.core.revision import Revision
from funclet.scaler.idleness import Idleness

KEY = "default/f"
PERIOD_SECONDS = 600.0
FIXED = Revision(
    key=KEY, uid="u", revision="r", code_sha256="c", runtime="python3.13", handler="index.handler", memory_mib=128,
    timeout_seconds=3, ephemeral_storage_mib=512, environment=Environment(), log_format="Text",
    concurrency_per_instance=1, idle_timeout_seconds=60, max_instances=100, reserved_concurrency=None,
    provisioned_concurrency=0, pod=PodSettings(),
)  # fmt: skip
ADAPTIVE = replace(FIXED, keep_alive="Adaptive")


@dataclass
class World:
    """A book, a clock, and what is made of them."""

    now: float = 1000.0

    def __post_init__(self) -> None:
        self.book = DemandBook()
        self.idleness = Idleness(self.book, lambda: self.now)
        self.calls = 0

    def call(self, revision: Revision) -> None:
        """One call on a new instance, which is gone a minute later."""
        self.calls += 1
        instance = Instance(f"i-{self.calls}", "default", "python3.13", 128, since=self.now, state=State.READY)
        use = InstanceUse(busy=0, uses=1, idle_seconds=0.1)
        self.book.enter(
            DemandReport(reporter="g", functions={KEY: FunctionDemand(instances={instance.name: use})}), self.now
        )
        self.idleness.read(revision, [instance])
        self.now += 60
        self.idleness.read(revision, [])
        self.idleness.predicted_count(revision, lead_seconds=0.1)

    def call_on_schedule(self, revision: Revision, times: int) -> None:
        for _ in range(times):
            start = self.now
            self.call(revision)
            self.now = start + PERIOD_SECONDS


@pytest.fixture
def world() -> World:
    return World()


def test_a_scheduled_function_is_due_before_its_call_and_only_then(world: World) -> None:
    world.call_on_schedule(ADAPTIVE, 5)
    world.now -= 30
    assert world.idleness.take_due() == []
    assert world.idleness.predicted_count(ADAPTIVE, 0.1) == 0
    world.now += 30
    assert world.idleness.take_due() == [KEY]
    assert world.idleness.take_due() == []
    assert world.idleness.predicted_count(ADAPTIVE, 0.1) == 1


def test_a_fixed_function_has_its_timeout_and_no_history(world: World) -> None:
    world.call_on_schedule(FIXED, 5)
    assert not world.idleness.is_waiting
    assert world.idleness.history(FIXED).plan(1).keep_seconds == 60
    assert world.idleness.predicted_count(FIXED, 0.1) == 0


def test_a_function_that_was_never_called_has_no_history(world: World) -> None:
    assert world.idleness.read(ADAPTIVE, []) == []
    assert world.idleness.history(ADAPTIVE).plan(1).keep_seconds == 60
    assert not world.idleness.is_waiting


@pytest.mark.parametrize("change", [{"keep_alive": "Fixed"}, {"idle_timeout_seconds": 61}])
def test_other_settings_begin_anew(world: World, change: dict[str, object]) -> None:
    world.call_on_schedule(ADAPTIVE, 5)
    changed = replace(ADAPTIVE, **change)  # type: ignore[arg-type]
    assert world.idleness.predicted_count(changed, 0.1) == 0
    assert world.idleness.predicted_count(ADAPTIVE, 0.1) == 0
    assert world.idleness.take_due() == []


def test_a_forgotten_function_is_due_no_more(world: World) -> None:
    world.call_on_schedule(ADAPTIVE, 5)
    world.idleness.forget(KEY)
    assert world.idleness.take_due() == []
    assert not world.idleness.is_waiting


def test_what_is_being_specialised_is_not_idle(world: World) -> None:
    starting, specialising = (
        Instance(name, "default", "python3.13", 128, since=world.now - 5, state=state)
        for name, state in (("a", State.STARTING), ("b", State.SPECIALISING))
    )
    assert [(one.name, one.seconds) for one in world.idleness.read(ADAPTIVE, [starting, specialising])] == [("a", 5.0)]
