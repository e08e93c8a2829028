"""One instance serves one call at a time; limits make callers wait, or refuse them."""

import threading
import time
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
HELD = """
    import time, uuid
    instance = str(uuid.uuid4())
    def handler(event, context):
        return tell()

    def tell():
        yield instance
        time.sleep(50)
"""
MEETING = """
    import os, tempfile, time
    here = os.path.join(tempfile.gettempdir(), "meeting")  # each instance has a /tmp of its own
    def handler(event, context):
        os.makedirs(here, exist_ok=True)
        open(os.path.join(here, context.aws_request_id), "w").close()
        while len(os.listdir(here)) < 4:
            time.sleep(0.01)
        return "met"
"""


def in_parallel(world: World, function: str, calls: int, seconds: float = 1) -> list[Answer]:
    with ThreadPoolExecutor(calls) as pool:
        return list(pool.map(lambda _: world.invoke(function, {"seconds": seconds}), range(calls)))


def test_ten_parallel_calls_get_ten_instances(world: World, deploy: Deployer) -> None:
    """Each is held until all ten run: by its caller, who has read the beginning of its answer and not the end."""
    function = deploy.function(HELD, timeout=60, scaling={"idleTimeoutSeconds": 15})
    all_run = threading.Barrier(10)

    def hold(_: int) -> str:
        answer = world.client.invoke_with_response_stream(FunctionName=function, Payload=b"{}")
        instance: str = next(iter(answer["EventStream"]))["PayloadChunk"]["Payload"].decode()
        all_run.wait(60)
        answer["EventStream"].close()
        return instance

    with ThreadPoolExecutor(10) as pool:
        assert len(set(pool.map(hold, range(10)))) == 10
    world.wait_instances(function, 10)


def test_beyond_max_instances_calls_wait(world: World, deploy: Deployer) -> None:
    function = deploy.function(SLOW, timeout=10, scaling={"maxInstances": 2, "idleTimeoutSeconds": 5})
    began = time.monotonic()
    answers = in_parallel(world, function, calls=6, seconds=0.5)
    assert time.monotonic() - began >= 1.5
    assert len({answer.payload for answer in answers}) <= 2
    assert world.instances(function) <= 2


def test_beyond_the_reserved_concurrency_calls_are_refused(world: World, deploy: Deployer) -> None:
    """While one is held by its caller, who has read the beginning of its answer and not the end."""
    function = deploy.function(HELD, timeout=60, reservedConcurrentExecutions=1)
    held = world.client.invoke_with_response_stream(FunctionName=function, Payload=b"{}")["EventStream"]
    assert "PayloadChunk" in next(iter(held))
    refused = world.post(function, {})
    held.close()
    assert refused.status_code == 429
    assert refused.headers["x-amzn-errortype"] == "TooManyRequestsException"
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_slots_share_one_instance_when_the_function_says_so(world: World, deploy: Deployer) -> None:
    """Each waits in the instance until it sees all four there."""
    function = deploy.function(
        MEETING, timeout=30, scaling={"concurrencyPerInstance": 4, "maxInstances": 1, "idleTimeoutSeconds": 5}
    )
    answers = in_parallel(world, function, calls=4)
    assert [answer.payload for answer in answers] == ["met"] * 4
    world.wait_instances(function, 1)


def test_an_instance_knows_whether_it_is_provisioned(world: World, deploy: Deployer) -> None:
    source = """
        import os

        def handler(event, context):
            return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
    """
    assert world.invoke(deploy.function(source)).payload == "on-demand"
    kept = deploy.function(source, provisionedConcurrentExecutions=1)
    assert world.invoke(kept).payload == "provisioned-concurrency"
