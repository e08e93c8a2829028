"""The warm pool's plans."""

import pytest

from funclet.api.function import Environment, PodSettings
from funclet.core.instances import Instance, State
from funclet.core.pool import find_claimable, may_use_pool, plan_pool, pools_wanted
from funclet.core.revision import Revision


def _revision(key: str = "default/f", runtime: str = "python3.13", storage: int = 512, pod: object = None) -> Revision:
    return Revision(
        key=key, uid="u", revision="r", code_sha256="c", runtime=runtime, handler="index.handler", memory_mib=128,
        timeout_seconds=3, ephemeral_storage_mib=storage, environment=Environment(), log_format="Text",
        concurrency_per_instance=1, idle_timeout_seconds=60, max_instances=100, reserved_concurrency=None,
        provisioned_concurrency=0, pod=PodSettings.model_validate(pod or {}),
    )  # fmt: skip


def _instance(name: str, state: State, since: float = 0.0, *, running: bool = False) -> Instance:
    return Instance(name, "default", "python3.13", 128, since=since, state=state, running=running)


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


def test_pools_are_those_of_functions_that_can_use_them() -> None:
    revisions = [_revision("a/f"), _revision("a/g"), _revision("b/f", "python3.12"), _revision("c/f", storage=1024)]
    assert pools_wanted(revisions) == {("a", "python3.13"), ("b", "python3.12")}
    assert pools_wanted([]) == set()


def test_a_short_pool_is_filled_and_a_long_one_cut() -> None:
    unclaimed = [
        _instance("starting", State.STARTING, since=1),
        _instance("running", State.GENERIC, since=3, running=True),
        _instance("addressed", State.GENERIC, since=2),
    ]
    assert plan_pool(5, unclaimed).start == 2
    assert plan_pool(3, unclaimed) == plan_pool(0, [])
    assert plan_pool(1, unclaimed).remove == ("addressed", "starting")
    assert len(plan_pool(0, unclaimed).remove) == 3


def test_a_claim_takes_what_is_soonest_of_use() -> None:
    starting, addressed = _instance("s", State.STARTING, since=1), _instance("a", State.GENERIC, since=2)
    running = _instance("r", State.GENERIC, since=3, running=True)
    assert find_claimable([starting, addressed, running]) is running
    assert find_claimable([starting, addressed]) is addressed
    assert find_claimable([starting]) is starting
    assert find_claimable([]) is None
