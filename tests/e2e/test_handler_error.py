"""What the handler raises reaches the caller in Lambda's shape."""

import base64

from tests.e2e.conftest import Deployer
from tests.e2e.worlds import World

FAULTY = """
    def check(event):
        if "key" not in event:
            raise KeyError("key")

    def handler(event, context):
        print("about to check")
        check(event)
        return "checked"
"""


def test_the_error_object(world: World, deploy: Deployer) -> None:
    function = deploy.function(FAULTY)
    answer = world.invoke(function, LogType="Tail")
    assert (answer.status, answer.function_error, answer.executed_version) == (200, "Unhandled", "$LATEST")
    assert answer.payload["errorType"] == "KeyError"
    assert answer.payload["errorMessage"] == "'key'"
    assert any("check(event)" in line for line in answer.payload["stackTrace"])
    log = base64.b64decode(answer.headers["x-amz-log-result"]).decode()
    assert "about to check" in log
    assert "REPORT RequestId:" in log
    assert world.invoke(function, {"key": 1}).payload == "checked"


def test_a_module_that_cannot_be_imported(world: World, deploy: Deployer) -> None:
    function = deploy.function("import no_such_module\ndef handler(event, context): pass")
    answer = world.invoke(function)
    assert answer.function_error == "Unhandled"
    assert answer.payload["errorType"] == "Runtime.ImportModuleError"
    assert "no_such_module" in answer.payload["errorMessage"]


def test_a_handler_that_is_not_there(world: World, deploy: Deployer) -> None:
    function = deploy.function("def other(event, context): pass")
    answer = world.invoke(function)
    assert answer.payload["errorType"] == "Runtime.HandlerNotFound"
