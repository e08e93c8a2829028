"""The counters are the sum of what the answers said."""

import pytest
from tests.e2e.conftest import Deployer
from tests.e2e.ledger import usage_of
from tests.e2e.worlds import World, eventually

from funclet.core.usage import Usage

WORK = """
    import time
    def handler(event, context):
        time.sleep(event["ms"] / 1000)
        if event["ms"] == 13:
            raise ValueError("unlucky")
"""


def test_counters_equal_the_sum_of_the_answers(world: World, deploy: Deployer) -> None:
    function = deploy.function(WORK, memorySize=512)
    answers = [world.invoke(function, {"ms": ms}) for ms in (1, 5, 13, 20, 50)]
    billed_ms = sum(answer.billed_ms for answer in answers)
    assert billed_ms >= 89

    def count(name: str, **labels: str) -> float:
        return world.metric(name, namespace=world.namespace, function=function, **labels)

    eventually(lambda: count("funclet_invocations_total") == len(answers))
    assert count("funclet_invocations_total", outcome="ok") == 4
    assert count("funclet_invocations_total", outcome="error") == 1
    assert count("funclet_billed_milliseconds_total") == billed_ms
    assert count("funclet_gb_seconds_total") == pytest.approx(billed_ms / 1000 * 512 / 1024)
    assert count("funclet_cold_starts_total") == 1
    assert count("funclet_invocation_duration_seconds_count") == len(answers)


def test_the_first_answer_pays_for_its_init_phase(world: World, deploy: Deployer) -> None:
    function = deploy.function("import time\ntime.sleep(1)\ndef handler(event, context): pass")
    first, second = world.invoke(function), world.invoke(function)
    assert first.billed_ms >= 1000
    assert second.init_ms is None
    assert second.billed_ms < 1000


def test_the_ledger_has_what_the_answers_said(world: World, deploy: Deployer) -> None:
    function = deploy.function(WORK, memorySize=512)
    answers = [world.invoke(function, {"ms": ms}) for ms in (1, 13, 20)]
    billed_ms = sum(answer.billed_ms for answer in answers)
    eventually(lambda: usage_of(world, function) == Usage(3, 1, billed_ms, billed_ms * 512))
