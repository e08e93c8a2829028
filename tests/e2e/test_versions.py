"""Versions: published, invoked by their number, and the same for good."""

import uuid

import pytest
from botocore.exceptions import ClientError
from tests.e2e.conftest import Deployer
from tests.e2e.worlds import World, eventually

WHO = """
    import os
    def handler(event, context):
        return {
            'says': WORD,
            'version': context.function_version,
            'variable': os.environ['AWS_LAMBDA_FUNCTION_VERSION'],
            'arn': context.invoked_function_arn,
            'memory': context.memory_limit_in_mb,
        }
"""


def source(word: str) -> str:
    return WHO.replace("WORD", repr(word))


def publish(world: World, deploy: Deployer, function: str) -> str:
    name = f"v-{uuid.uuid4().hex[:8]}"
    deploy.apply("Version", name, {"function": {"name": function}})
    world.wait_ready("Version", name)
    return name


def test_a_version_stays_what_it_was(world: World, deploy: Deployer) -> None:
    function = deploy.function(source("first"), memorySize=128)
    publish(world, deploy, function)
    deploy.function(source("second"), name=function, memorySize=256)
    eventually(lambda: world.invoke(function).payload["says"] == "second")

    answer = world.invoke_known(function, Qualifier="1")
    assert answer.executed_version == "1"
    assert answer.payload["says"] == "first"
    assert (answer.payload["version"], answer.payload["variable"]) == ("1", "1")
    assert answer.payload["arn"].endswith(f":function:{function}:1")
    assert answer.payload["memory"] == "128"

    latest = world.invoke(function)
    assert latest.executed_version == "$LATEST"
    assert latest.payload["version"] == "$LATEST"
    assert latest.payload["arn"].endswith(f":function:{function}")
    assert latest.payload["memory"] == "256"


@pytest.mark.parametrize("form", ["{name}:1", "{arn}:1", "000000000000:function:{name}:1"])
def test_a_version_can_be_named_in_every_form(world: World, deploy: Deployer, form: str) -> None:
    function = deploy.function(source("first"))
    publish(world, deploy, function)
    arn = world.invoke(function).payload["arn"]
    account = arn.split(":")[4]
    name = form.format(name=function, arn=arn).replace("000000000000", account)
    assert world.invoke_known(name).executed_version == "1"


def test_what_was_never_published_is_not_found(world: World, deploy: Deployer) -> None:
    function = deploy.function(source("first"))
    with pytest.raises(ClientError) as refused:
        world.invoke(function, Qualifier="7")
    assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"
    assert "Function not found: arn:aws:lambda:us-east-1:" in refused.value.response["Error"]["Message"]
    assert refused.value.response["Error"]["Message"].endswith(f":function:{function}:7")


def test_numbers_go_up_and_never_come_again(world: World, deploy: Deployer) -> None:
    function = deploy.function(source("first"))
    publish(world, deploy, function)
    again = publish(world, deploy, function)
    assert world.invoke_known(function, Qualifier="1").payload["says"] == "first"
    with pytest.raises(ClientError):
        world.invoke(function, Qualifier="2")
    deploy.delete("Version", again)

    deploy.function(source("second"), name=function)
    second = publish(world, deploy, function)
    assert world.invoke_known(function, Qualifier="2").payload["says"] == "second"
    deploy.delete("Version", second)
    eventually(lambda: world.post(f"{function}:2").status_code == 404)

    publish(world, deploy, function)
    assert world.invoke_known(function, Qualifier="3").payload["says"] == "second"
