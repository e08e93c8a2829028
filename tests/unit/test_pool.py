"""The warm pool's plans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.api.function import Environment
from funclet.api.pod import PodSettings
from funclet.core.instances import Instance, State
from funclet.core.pool import (
    BURST_SECONDS,
    QUIET_SECONDS,
    SHRINK_SECONDS,
    WINDOW_SECONDS,
    PoolLimits,
    PoolPlan,
    PoolSize,
    Takings,
    find_claimable,
    may_use_pool,
    may_wait,
    plan_pool,
    settle_limit,
    settle_size,
)
from funclet.core.revision import Revision


def _revision(key: str = "default/f", runtime: str = "python3.13", storage: int = 512, pod: object = None) -> Revision:
    return Revision(
        key=key, uid="u", revision="r", code_sha256="c", runtime=runtime, handler="index.handler", memory_mib=128,
        timeout_seconds=3, ephemeral_storage_mib=storage, environment=Environment(), log_format="Text",
        concurrency_per_instance=1, idle_timeout_seconds=60, max_instances=100, reserved_concurrency=None,
        provisioned_concurrency=0, pod=PodSettings.model_validate(pod or {}),
    )  # fmt: skip


def _instance(name: str, state: State, since: float = 0.0) -> Instance:
    return Instance(name, "default", "python3.13", 128, since=since, state=state)


def test_labels_and_annotations_alone_leave_the_pool_open() -> None:
    assert may_use_pool(_revision())
    assert may_use_pool(_revision(pod={"labels": {"a": "b"}, "annotations": {"c": "d"}}))


@pytest.mark.parametrize(
    "pod",
    [
        {"serviceAccountName": "x"},
        {"nodeSelector": {"a": "b"}},
        {"tolerations": [{"operator": "Exists"}]},
        {"runtimeClassName": "gvisor"},
    ],
)
def test_other_pod_settings_close_it(pod: dict[str, object]) -> None:
    assert not may_use_pool(_revision(pod=pod))


def test_another_size_of_tmp_closes_it() -> None:
    assert not may_use_pool(_revision(storage=1024))


def test_a_short_pool_is_filled_and_a_long_one_cut() -> None:
    unclaimed = [
        _instance("starting", State.STARTING, since=1),
        _instance("newer", State.GENERIC, since=3),
        _instance("older", State.GENERIC, since=2),
    ]
    assert plan_pool(5, unclaimed, calls_come=False).start == 2
    assert plan_pool(3, unclaimed, calls_come=False) == PoolPlan()
    assert plan_pool(1, unclaimed, calls_come=False).remove == ("newer", "starting")
    assert len(plan_pool(0, unclaimed, calls_come=False).remove) == 3


@pytest.mark.parametrize(
    ("size", "there", "starting", "starts"),
    [
        pytest.param(20, 12, 0, 1, id="one"),
        pytest.param(20, 12, 1, 0, id="the next when that has started"),
        pytest.param(20, 2, 0, 3, id="up to a quarter at once"),
        pytest.param(20, 2, 2, 1, id="with those that start already"),
        pytest.param(100, 60, 2, 4, id="a sixteenth of a large one"),
        pytest.param(2, 0, 0, 1, id="one by one when it is empty, too: whoever waits gets one of his own"),
        pytest.param(20, 20, 0, 0, id="none when it is full"),
        pytest.param(20, 19, 1, 0, id="nor when it will be"),
    ],
)
def test_while_calls_come_a_pool_is_filled_so_slowly_that_they_hardly_notice(
    size: int, there: int, starting: int, starts: int
) -> None:
    unclaimed = [_instance(f"there-{number}", State.GENERIC) for number in range(there)]
    unclaimed += [_instance(f"starting-{number}", State.STARTING) for number in range(starting)]
    assert plan_pool(size, unclaimed, calls_come=True).start == starts
    assert plan_pool(size, unclaimed, calls_come=False).start == size - there - starting


@given(st.integers(1, 200), st.integers(0, 200))
def test_a_paced_pool_is_full_in_the_end(size: int, there: int) -> None:
    unclaimed = [_instance(f"there-{number}", State.GENERIC) for number in range(there)]
    while start := plan_pool(size, unclaimed, calls_come=True).start:
        unclaimed += [_instance(f"more-{len(unclaimed) + number}", State.GENERIC) for number in range(start)]
    assert len(unclaimed) == max(size, there)


def test_a_claim_takes_the_oldest_that_listens() -> None:
    starting = _instance("s", State.STARTING, since=1)
    older, newer = _instance("o", State.GENERIC, since=2), _instance("n", State.GENERIC, since=3)
    assert find_claimable([starting, newer, older]) is older
    assert find_claimable([starting]) is None
    assert find_claimable([]) is None


LIMITS = PoolLimits(minimum=2, maximum=20)


@pytest.mark.parametrize(
    ("last", "taken", "limits", "after_seconds", "size"),
    [
        pytest.param(0, 0, LIMITS, 0, 2, id="never below the minimum"),
        pytest.param(2, 4, LIMITS, 0, 6, id="half as many again as were taken, at once"),
        pytest.param(2, 99, LIMITS, 0, 20, id="never above the maximum"),
        pytest.param(2, 99, PoolLimits(30, 20), 0, 30, id="a larger minimum wins"),
        pytest.param(16, 0, LIMITS, SHRINK_SECONDS - 1, 16, id="kept for a while"),
        pytest.param(16, 0, LIMITS, SHRINK_SECONDS, 14, id="then an eighth less"),
        pytest.param(4, 0, LIMITS, SHRINK_SECONDS, 3, id="or one less"),
        pytest.param(16, 10, LIMITS, SHRINK_SECONDS, 15, id="but not below what demand takes"),
        pytest.param(16, 10, PoolLimits(0, 20), 0, 0, id="a minimum of 0 is no pool"),
    ],
)
def test_the_size_follows_what_was_taken(
    last: int, taken: int, limits: PoolLimits, after_seconds: float, size: int
) -> None:
    assert settle_size(PoolSize(last, since=100.0), taken, limits, 100.0 + after_seconds).instances == size


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 100))), st.integers(1, 30), st.integers(0, 60))
def test_the_size_keeps_its_limits_and_comes_down_in_the_end(
    steps: list[tuple[int, float]], minimum: int, maximum: int
) -> None:
    limits, size, now = PoolLimits(minimum, maximum), PoolSize(0, 0.0), 0.0
    for taken, seconds in steps:
        now += seconds
        size = settle_size(size, taken, limits, now)
        assert minimum <= size.instances <= max(minimum, maximum)
    for _ in range(60):
        now += SHRINK_SECONDS
        size = settle_size(size, 0, limits, now)
    assert size.instances == minimum


def test_takings_are_those_of_the_last_window() -> None:
    takings = Takings(limit=5)
    takings.note(2, now=0.0)
    takings.note(1, now=6.0)
    assert takings.count(now=6.0) == 3
    assert takings.count(now=WINDOW_SECONDS) == 1
    assert takings.count(now=6.0 + WINDOW_SECONDS) == 0
    takings.note(1000, now=20.0)
    assert takings.count(now=20.0) == 5


def test_a_refill_waits_for_a_quiet_moment() -> None:
    takings = Takings(limit=5)
    assert takings.is_quiet(now=0.0)
    assert not may_wait(10, 0, takings, now=0.0)
    takings.note(1, now=1.0)
    assert may_wait(10, 0, takings, now=1.0 + QUIET_SECONDS / 2)
    assert not may_wait(10, 9, takings, now=1.0 + QUIET_SECONDS)


def test_a_refill_does_not_wait_for_the_end_of_a_long_burst() -> None:
    takings, now = Takings(limit=5), 1.0
    while now < 1.0 + BURST_SECONDS:
        takings.note(1, now)
        assert may_wait(10, 0, takings, now)
        now += QUIET_SECONDS / 2
    takings.note(1, now)
    assert takings.burst_seconds(now) == BURST_SECONDS
    assert may_wait(10, 5, takings, now)
    assert not may_wait(10, 4, takings, now)
    takings.note(1, now + QUIET_SECONDS)  # after a quiet moment another burst begins
    assert takings.burst_seconds(now + QUIET_SECONDS) == 0.0


@pytest.mark.parametrize(
    ("sizes", "limit_mib"),
    [
        pytest.param([], 128, id="nobody uses it"),
        pytest.param([128, 128], 128, id="nobody needs more"),
        pytest.param([128, 512, 256], 512, id="the largest"),
        pytest.param([128, 10240], 1024, id="no more than the installation allows"),
    ],
)
def test_a_generic_instance_may_take_what_it_may_need(sizes: list[int], limit_mib: int) -> None:
    assert settle_limit(sizes, PoolLimits(2, 20, memory_mib=1024)) == limit_mib
