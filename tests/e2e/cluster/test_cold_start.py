"""First calls of functions that have no instance: what callers wait, and who comes first."""

import http.client
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.conftest import Deployer
from tests.e2e.worlds import ClusterWorld, eventually

CALLS = 20
POOL_SIZE = 2
AT_ONCE = 30
CALLERS = 16

ONE = "def handler(event, context): return 1"
HELD = """
import time, uuid
name = str(uuid.uuid4())
def handler(event, context):
    return tell()

def tell():
    yield name
    for _ in range(1000):  # it ends when nobody reads any more
        time.sleep(0.1)
        yield "."
"""
WHO = """
import time, uuid
name, began = str(uuid.uuid4()), time.time()
def handler(event, context):
    time.sleep(event.get("seconds", 0))
    return {"instance": name, "began": began}
"""


def wait_for_pool(world: ClusterWorld) -> set[str]:
    """The names of the generic instances, once all of them run."""

    def find_pool() -> set[str]:
        pods = world.objects("pods", world.namespace, "funclet.dev/state=generic")
        running = {pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"}
        return running if len(running) == len(pods) >= POOL_SIZE else set()

    return eventually(find_pool, every=0.2)


def instance_of(world: ClusterWorld, function: str) -> str:
    """The name of its only instance, once that is written down."""
    [pod] = eventually(lambda: world.objects("pods", world.namespace, f"funclet.dev/function={function}"))
    return str(pod["metadata"]["name"])


def timed_call(world: ClusterWorld, function: str) -> float:
    """Milliseconds from the connection to the answer; a client of boto3 or httpx would spend as long on itself."""
    host, port = world.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=100)
    began = time.perf_counter()
    connection.request("POST", f"/namespaces/{world.namespace}/2015-03-31/functions/{function}/invocations", b"{}")
    answer = connection.getresponse()
    text = answer.read()
    waited_ms = (time.perf_counter() - began) * 1000
    connection.close()
    assert answer.status == 200, text
    return waited_ms


def tell(what: str, waited_ms: list[float]) -> None:
    """Prints median and 95th percentile. `make bench` holds them against budgets; a starved machine is no failure."""
    p50, p95 = statistics.median(waited_ms), statistics.quantiles(waited_ms, n=20)[-1]
    print(f"{what}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, {len(waited_ms)} calls")


def test_one_after_another_each_gets_an_instance_that_was_waiting(world: ClusterWorld, deploy: Deployer) -> None:
    functions = [deploy.function(ONE, scaling={"idleTimeoutSeconds": 300}) for _ in range(CALLS)]
    waited_ms = []
    for function in functions:
        pool = wait_for_pool(world)
        waited_ms.append(timed_call(world, function))
        assert instance_of(world, function) in pool
    tell("cold start from the warm pool", waited_ms)


def test_more_functions_at_once_than_the_pool_has(world: ClusterWorld, deploy: Deployer) -> None:
    functions = [deploy.function(ONE, scaling={"idleTimeoutSeconds": 1}) for _ in range(AT_ONCE)]
    wait_for_pool(world)
    with ThreadPoolExecutor(AT_ONCE) as callers:
        waited_ms = list(callers.map(lambda function: timed_call(world, function), functions))
    tell(f"{AT_ONCE} functions at once", waited_ms)


def test_sixteen_callers_get_sixteen_instances_in_one_step(world: ClusterWorld, deploy: Deployer) -> None:
    """Each is held until all of them run: by its caller, who has read the beginning of its answer and not the end."""
    function = deploy.function(HELD, timeout=120, scaling={"idleTimeoutSeconds": 1})
    wait_for_pool(world)
    all_run = threading.Barrier(CALLERS)

    def hold(_: int) -> str:
        answer = world.client.invoke_with_response_stream(FunctionName=function, Payload=b"{}")
        instance: str = next(iter(answer["EventStream"]))["PayloadChunk"]["Payload"].decode()[:36]
        all_run.wait(90)
        answer["EventStream"].close()
        return instance

    with ThreadPoolExecutor(CALLERS) as callers:
        assert len(set(callers.map(hold, range(CALLERS)))) == CALLERS


def test_slots_are_used_before_instances_are_made(world: ClusterWorld, deploy: Deployer) -> None:
    slots = 4
    scaling = {"idleTimeoutSeconds": 30, "concurrencyPerInstance": slots}
    function = deploy.function(WHO, timeout=60, scaling=scaling)
    wait_for_pool(world)
    with ThreadPoolExecutor(CALLERS) as callers:
        running = [callers.submit(world.invoke, function, {"seconds": 15}) for _ in range(CALLERS)]
        world.wait_instances(function, CALLERS // slots)
        for call in running:
            call.result()
    assert world.instances(function) == CALLERS // slots


def test_a_burst_on_one_function_lets_others_through(world: ClusterWorld, deploy: Deployer) -> None:
    burst = deploy.function(WHO, timeout=60, scaling={"idleTimeoutSeconds": 1})
    others = [deploy.function(WHO, scaling={"idleTimeoutSeconds": 1}) for _ in range(3)]
    wait_for_pool(world)
    with ThreadPoolExecutor(CALLERS + len(others)) as callers:
        bursting = [callers.submit(world.invoke, burst, {"seconds": 20}) for _ in range(CALLERS)]
        single = [callers.submit(world.invoke, function) for function in others]
        last_of_burst = max(call.result().payload["began"] for call in bursting)
        assert all(call.result().payload["began"] < last_of_burst for call in single)
