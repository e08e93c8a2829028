"""A function that has no instance answers."""

import pytest
from tests.e2e.conftest import Deployer
from tests.e2e.worlds import World

HELLO = """
    def handler(event, context):
        name = event.get('name', 'World')
        return {'statusCode': 200, 'body': f"Hello, {name}! Welcome to AWS Lambda 🚀"}
"""


def test_answers_from_zero_instances(world: World, deploy: Deployer) -> None:
    function = deploy.function(HELLO)
    assert world.instances(function) == 0
    answer = world.invoke(function, {"name": "Ada"})
    assert answer.payload == {"statusCode": 200, "body": "Hello, Ada! Welcome to AWS Lambda 🚀"}
    assert (answer.status, answer.executed_version, answer.function_error) == (200, "$LATEST", None)
    assert answer.init_ms is not None


def test_takes_the_qualifier_and_the_arn(world: World, deploy: Deployer) -> None:
    function = deploy.function("def handler(event, context): return context.invoked_function_arn")
    arn = world.invoke(function).payload
    assert arn.endswith(f":function:{function}")
    assert world.invoke(arn).payload == arn
    assert world.invoke(function, Qualifier="$LATEST").executed_version == "$LATEST"


def test_hands_over_the_environment(world: World, deploy: Deployer) -> None:
    function = deploy.function(
        """
        import os
        def handler(event, context): return [os.environ["GREETING"], os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]]
        """,
        environment={"variables": {"GREETING": "Moin"}},
        memorySize=256,
    )
    assert world.invoke(function).payload == ["Moin", "256"]


def test_an_unknown_function_is_not_found(world: World) -> None:
    with pytest.raises(world.client.exceptions.ResourceNotFoundException, match="Function not found: arn:aws:lambda:"):
        world.invoke("nobody")
