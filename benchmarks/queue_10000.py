"""A queue with 10,000 messages, and a function without an instance: how long until an instance works on it.

The clock runs from the Trigger's creation in the Kubernetes API to the moment at which an instance tells of its first
batch, over NATS. How long all messages took is told beside it.
"""

import asyncio
import time
import uuid

import nats
import uvloop
from tests.e2e.queues import WITNESS, Depth, Queues

from benchmarks.cluster import Cluster, cluster
from benchmarks.figure import Budget, Figure, Peer

MESSAGES = 10_000
BUDGET_MS = 250
POOL = 10
WAIT_SECONDS = 60
KEDA = Peer("KEDA's poll every 30 s, half of it", 15_000, "keda.sh, ScaledObject, pollingInterval")
HANDLER = (
    WITNESS
    + """
told = False

def handler(event, context):
    global told
    if not told:
        told = True
        tell([os.environ["SEEN"]])
"""
)


def measure() -> Figure:
    """Milliseconds to the first batch."""
    stream = f"B{uuid.uuid4().hex[:8]}"
    with cluster(pool=POOL) as world:
        environment = {"variables": {"NATS_URL": world.nats_url_of_functions, "SEEN": f"{stream}-seen"}}
        [function] = world.create_functions(1, HANDLER, environment=environment, scaling={"idleTimeoutSeconds": 600})
        queues = Queues(world.nats_url)
        queues.make(stream, f"{stream}.>")
        try:
            queues.publish(f"{stream}.new", ({"id": number} for number in range(MESSAGES)))
            world.wait_pool(POOL)
            began = time.monotonic()
            first = uvloop.run(first_batch(world, function, stream)) - began
            world.wait(lambda: queues.depths(stream) == [Depth(0, 0)], "the queue to be empty", WAIT_SECONDS)
            drained = time.monotonic() - began
        finally:
            queues.delete(stream)
        instances = len(world.list_pods(f"funclet.dev/function={function}"))
    why = f"all done after {drained:.1f} s, at last by {instances} instances"
    details = {"drained_s": drained, "instances": instances}
    return Figure(
        "queue_10000_first_instance_ms", first * 1000, "ms", Budget(BUDGET_MS), [KEDA], why=why, details=details
    )


async def first_batch(world: Cluster, function: str, stream: str) -> float:
    """When an instance has told of its first batch, on the monotonic clock."""
    connection = await nats.connect(world.nats_url)
    try:
        seen = await connection.subscribe(f"{stream}-seen")
        await connection.flush()
        await asyncio.to_thread(create_trigger, world, function, stream)
        await seen.next_msg(timeout=WAIT_SECONDS)
        return time.monotonic()
    finally:
        await connection.close()


def create_trigger(world: Cluster, function: str, stream: str) -> None:
    """One object, straight to the API."""
    path = f"/apis/funclet.dev/v1/namespaces/{world.namespace}/triggers"
    source = {"stream": stream, "subject": f"{stream}.>", "batchSize": 10}
    body = {
        "apiVersion": "funclet.dev/v1",
        "kind": "Trigger",
        "metadata": {"name": "queue"},
        "spec": {"function": {"name": function}, "jetstream": source},
    }
    world.api.post(path, json=body).raise_for_status()
