"""Aliases: a name for a version, or for two that share its invocations; pointed elsewhere while callers go on."""

import uuid
from collections import Counter
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from tests.e2e.conftest import Deployer, StreamMaker
from tests.e2e.queues import WITNESS
from tests.e2e.worlds import World, eventually

CALLS = 60


def source(word: str) -> str:
    return f"""
        def handler(event, context):
            if isinstance(event, dict) and event.get('fail'):
                raise ValueError('as asked')
            return {{'says': {word!r}, 'version': context.function_version, 'arn': context.invoked_function_arn}}
    """


class Released:
    """A function with two versions, and what points to them."""

    def __init__(self, world: World, deploy: Deployer, **spec: Any) -> None:
        self._deploy, self._world = deploy, world
        self.function = deploy.function(source("first"), **spec)
        self.publish()
        deploy.function(source("second"), name=self.function, **spec)
        self.publish()

    def publish(self) -> str:
        name = f"v-{uuid.uuid4().hex[:8]}"
        self._deploy.apply("Version", name, {"function": {"name": self.function}})
        self._world.wait_ready("Version", name)
        return name

    def point(self, alias: str, version: str, weights: dict[str, float] | None = None) -> str:
        name = f"{self.function}-{alias}"
        spec = {"function": {"name": self.function}, "name": alias, "functionVersion": version}
        self._deploy.apply("Alias", name, {**spec, "routingConfig": {"additionalVersionWeights": weights or {}}})
        self._world.wait_ready("Alias", name)
        return name


@pytest.fixture
def released(world: World, deploy: Deployer) -> Released:
    return Released(world, deploy)


def test_an_alias_is_pointed_to_another_version(world: World, released: Released) -> None:
    released.point("live", "1")
    answer = world.invoke_known(released.function, Qualifier="live")
    assert answer.executed_version == "1"
    assert answer.payload["version"] == "1"
    assert answer.payload["arn"].endswith(f":function:{released.function}:live")
    released.point("live", "2")
    eventually(lambda: world.invoke(released.function, Qualifier="live").executed_version == "2")
    assert world.invoke(f"{released.function}:live").payload["says"] == "second"


def test_two_versions_share_the_invocations_of_an_alias(world: World, released: Released) -> None:
    released.point("live", "1", {"2": 0.5})
    world.invoke_known(released.function, Qualifier="live")
    counts = Counter(world.invoke(released.function, Qualifier="live").executed_version for _ in range(CALLS))
    assert counts.keys() == {"1", "2"}  # one of them alone: once in 2^59 runs
    released.point("live", "1", {"2": 1.0})
    eventually(lambda: only(world, released.function, "2"))
    released.point("live", "1")
    eventually(lambda: only(world, released.function, "1"))


def only(world: World, function: str, version: str) -> bool:
    return {world.invoke(function, Qualifier="live").executed_version for _ in range(5)} == {version}


def test_an_alias_without_a_version_says_so_until_there_is_one(world: World, deploy: Deployer) -> None:
    function = deploy.function(source("first"))
    name = f"{function}-live"
    spec = {"function": {"name": function}, "name": "live", "functionVersion": "1"}
    deploy.apply("Alias", name, spec)

    def says(reason: str) -> bool:
        readiness = world.find_readiness("Alias", name)
        return readiness is not None and readiness.reason == reason

    eventually(lambda: says("VersionNotFound"))
    with pytest.raises(ClientError):
        world.invoke(function, Qualifier="live")
    version = f"v-{uuid.uuid4().hex[:8]}"
    deploy.apply("Version", version, {"function": {"name": function}})
    world.wait_ready("Alias", name)
    world.invoke_known(function, Qualifier="live")


def test_an_event_runs_with_the_version_that_its_alias_chose(world: World, released: Released) -> None:
    released.point("live", "1")
    world.invoke_known(released.function, Qualifier="live")
    response = world.client.invoke(FunctionName=released.function, Qualifier="live", InvocationType="Event")
    assert response["StatusCode"] == 202
    request_id = response["ResponseMetadata"]["RequestId"]
    url = f"{world.endpoint}/2015-03-31/functions/{released.function}/invocations/{request_id}"

    def result() -> Any:
        answer = httpx.get(url)
        return answer.json() if answer.is_success else None

    document = eventually(result, seconds=40)
    assert document["status"] == "Succeeded"
    assert document["responsePayload"]["version"] == "1"
    assert document["responsePayload"]["arn"].endswith(f":function:{released.function}:live")


def test_an_http_trigger_names_a_version(world: World, deploy: Deployer, released: Released) -> None:
    released.point("live", "1")
    path = f"/{released.function}"
    name = f"t-{uuid.uuid4().hex[:8]}"
    target = {"name": released.function, "qualifier": "live"}
    deploy.apply("Trigger", name, {"function": target, "http": {"path": path}})
    world.wait_ready("Trigger", name)
    answer = eventually(lambda: httpx.get(f"{world.url}{path}").json())
    assert answer["version"] == "1"
    assert answer["arn"].endswith(":live")


WITNESSES = (
    WITNESS
    + """
def handler(event, context):
    tell([f"{os.environ['SEEN']}.{context.function_version}.{context.invoked_function_arn.split(':')[-1]}"])
"""
)


@pytest.mark.parametrize("source", ["jetstream", "schedule"])
def test_a_queue_and_a_schedule_name_an_alias(world: World, deploy: Deployer, queues: StreamMaker, source: str) -> None:
    work, seen = queues.new(), queues.new()
    variables = {"NATS_URL": world.nats_url_of_functions, "SEEN": seen}
    function = deploy.function(WITNESSES, environment={"variables": variables}, timeout=10)
    version = f"v-{uuid.uuid4().hex[:8]}"
    deploy.apply("Version", version, {"function": {"name": function}})
    world.wait_ready("Version", version)
    deploy.function("def handler(event, context):\n    raise ValueError('not this one')\n", name=function)
    spec = {"function": {"name": function}, "name": "live", "functionVersion": "1"}
    deploy.apply("Alias", f"{function}-live", spec)
    world.wait_ready("Alias", f"{function}-live")
    sources = {"jetstream": {"stream": work}, "schedule": {"scheduleExpression": "rate(1 day)"}}  # due at once
    target = {"name": function, "qualifier": "live"}
    deploy.apply("Trigger", f"t-{uuid.uuid4().hex[:8]}", {"function": target, source: sources[source]})
    queues.publish(f"{work}.new", [{"id": 1}])
    eventually(lambda: queues.seen(seen) == {f"{seen}.1.live": 1}, seconds=60, every=0.2)


def test_a_trigger_of_no_version_says_so(world: World, deploy: Deployer) -> None:
    function = deploy.function(source("first"))
    name = f"t-{uuid.uuid4().hex[:8]}"
    target = {"name": function, "qualifier": "beta"}
    deploy.apply("Trigger", name, {"function": target, "http": {"path": f"/{function}"}})

    def is_refused() -> bool:
        readiness = world.find_readiness("Trigger", name)
        return readiness is not None and readiness.reason == "QualifierNotFound"

    eventually(is_refused)
