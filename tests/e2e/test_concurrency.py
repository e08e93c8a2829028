"""One instance serves one call at a time; limits make callers wait, or refuse them."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.conftest import Deployer
from tests.e2e.worlds import Answer, World

SLOW = """
    import os, time, uuid
    instance = str(uuid.uuid4())
    def handler(event, context):
        time.sleep(event.get("seconds", 1))
        return instance
"""


def in_parallel(world: World, function: str, calls: int, seconds: float = 1) -> list[Answer]:
    with ThreadPoolExecutor(calls) as pool:
        return list(pool.map(lambda _: world.invoke(function, {"seconds": seconds}), range(calls)))


def test_ten_parallel_calls_get_ten_instances(world: World, deploy: Deployer) -> None:
    function = deploy.function(SLOW, timeout=30, scaling={"idleTimeoutSeconds": 15})
    answers = in_parallel(world, function, calls=10, seconds=8)
    assert len({answer.payload for answer in answers}) == 10
    assert world.instances(function) == 10


def test_beyond_max_instances_calls_wait(world: World, deploy: Deployer) -> None:
    function = deploy.function(SLOW, timeout=10, scaling={"maxInstances": 2, "idleTimeoutSeconds": 5})
    began = time.monotonic()
    answers = in_parallel(world, function, calls=6, seconds=0.5)
    assert time.monotonic() - began >= 1.5
    assert sorted(Counter(answer.payload for answer in answers).values()) in ([3, 3], [2, 4], [1, 5])
    assert world.instances(function) == 2


def test_beyond_the_reserved_concurrency_calls_are_refused(world: World, deploy: Deployer) -> None:
    function = deploy.function(SLOW, timeout=10, reservedConcurrentExecutions=1)
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: world.post(function, {"seconds": 2}), range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 429, 429, 429, 429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["x-amzn-errortype"] == "TooManyRequestsException"
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_slots_share_one_instance_when_the_function_says_so(world: World, deploy: Deployer) -> None:
    function = deploy.function(
        SLOW, timeout=10, scaling={"concurrencyPerInstance": 4, "maxInstances": 1, "idleTimeoutSeconds": 5}
    )
    world.invoke(function, {"seconds": 0})
    began = time.monotonic()
    in_parallel(world, function, calls=4, seconds=1.5)
    assert time.monotonic() - began < 3
    assert world.instances(function) == 1
