"""The chart's three NATS servers, on Kubernetes: what was confirmed survives the end of any one of them."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from nats.aio.client import Client
from tests.e2e.worlds import CHART, RELEASE_NAMESPACE, ClusterWorld

from funclet.adapters.event_store import EventStore
from funclet.adapters.event_streams import EVENTS, StreamPolicy, make_streams
from funclet.adapters.jetstream import connect
from funclet.core.asynchronous import Event
from funclet.errors import Unavailable

RELEASE = "three"
NAME = f"{RELEASE}-funclet-nats"
TEMPLATES = ("configmap", "service", "serviceaccount", "statefulset")
PATIENCE_SECONDS = 120
SENDERS = 4
SOME = 300


def rendered(world: ClusterWorld) -> str:
    """The servers alone, as the chart has them, with the image that the cluster holds."""
    deployment = json.loads(world.kubectl("get", "deployment/funclet-gateway", "-n", RELEASE_NAMESPACE, "-o", "json"))
    repository, _, tag = deployment["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")
    chosen = [f"--show-only=templates/nats/{template}.yaml" for template in TEMPLATES]
    values = f"nats.replicas=3,nats.persistence.enabled=false,image.repository={repository},image.tag={tag}"
    done = world.helm("template", RELEASE, CHART, "--namespace", world.namespace, "--set", values, *chosen)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def servers(world: ClusterWorld) -> Iterator[str]:
    """Their URL, when all three are ready."""
    manifests = rendered(world)
    world.apply(manifests)
    wait_complete(world)
    service = json.loads(world.kubectl("get", "service", NAME, "-n", world.namespace, "-o", "json"))
    yield f"nats://{service['spec']['clusterIP']}:4222"
    world.kubectl("delete", "-n", world.namespace, "-f", "-", "--wait=false", stdin=manifests)


def wait_complete(world: ClusterWorld) -> None:
    world.kubectl("rollout", "status", f"statefulset/{NAME}", "-n", world.namespace, "--timeout=200s")


@asynccontextmanager
async def streams(url: str) -> AsyncIterator[Client]:
    """A client, when the streams are made."""
    client = await connect(url)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await are_made(client):
                await asyncio.sleep(0.2)
        yield client
    finally:
        await client.close()


async def are_made(client: Client) -> bool:
    try:
        await make_streams(client, StreamPolicy(replicas=3))
    except Unavailable:  # no leader yet
        return False
    return True


async def send(store: EventStore, first: int, confirmed: list[int]) -> None:
    """One event after the other, for ever; those that are confirmed are noted."""
    for number in itertools.count(first):
        try:
            await store.accept(Event(f"00000000-0000-4000-8000-{number:012d}", "default/hello", b"%d" % number))
        except Unavailable:
            await asyncio.sleep(0.05)
        else:
            confirmed.append(number)


async def reach(confirmed: list[int], more: int) -> None:
    """Returns when so many more are confirmed."""
    goal = len(confirmed) + more
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(confirmed) < goal:
            await asyncio.sleep(0.01)


async def find_leader(client: Client) -> str:
    cluster = (await client.jetstream().stream_info(EVENTS)).cluster
    assert cluster is not None
    return cluster.leader or ""


async def held(client: Client) -> set[int]:
    """The events that the stream has."""
    jetstream = client.jetstream()
    state = (await jetstream.stream_info(EVENTS)).state
    messages = [await jetstream.get_msg(EVENTS, number) for number in range(state.first_seq, state.last_seq + 1)]
    return {int(message.data or b"-1") for message in messages}


async def lagging(client: Client) -> list[str]:
    """Servers that do not hold all of the stream."""
    cluster = (await client.jetstream().stream_info(EVENTS)).cluster
    assert cluster is not None
    return [replica.name or "" for replica in cluster.replicas or [] if replica.offline or not replica.current]


async def test_what_was_confirmed_survives_the_end_of_the_leader(world: ClusterWorld, servers: str) -> None:
    confirmed: list[int] = []
    async with streams(servers) as client:
        store = EventStore(client)
        sending = [asyncio.create_task(send(store, 1_000_000 * n, confirmed)) for n in range(SENDERS)]
        await reach(confirmed, SOME)
        leader = await find_leader(client)
        await asyncio.to_thread(
            world.kubectl, "delete", "pod", leader, "-n", world.namespace, "--force", "--grace-period=0"
        )
        await reach(confirmed, SOME)  # two of three go on
        for task in sending:
            task.cancel()
        await asyncio.wait(sending)
        await asyncio.to_thread(wait_complete, world)
        async with asyncio.timeout(PATIENCE_SECONDS):  # who comes back empty is given all of it
            while await lagging(client):
                await asyncio.sleep(0.2)
        assert set(confirmed) <= await held(client)


@pytest.mark.parametrize(
    ("replicas", "complaint"), [(3, "nats.replicas: 3 is a cluster, and one server is there"), (0, "")]
)
def test_a_change_that_would_delete_what_is_stored_is_refused(
    world: ClusterWorld, replicas: int, complaint: str
) -> None:
    """As the API server would have it; nothing is changed."""
    upgrade = ("upgrade", "funclet", CHART, "--namespace", RELEASE_NAMESPACE, "--reuse-values", "--dry-run=server")
    done = world.helm(*upgrade, "--set", f"nats.replicas={replicas}")
    assert (done.returncode == 0) is (not complaint)
    assert complaint in done.stderr
