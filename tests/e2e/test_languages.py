"""Functions in other languages than Python answer, fail and time out as Python's do."""

import base64

from tests.e2e.bootstraps import bootstrap
from tests.e2e.conftest import Deployer
from tests.e2e.worlds import World, eventually

NODEJS = """
    export const handler = async (event, context) => {
      console.log("doing", event.what);
      if (event.what === "fail") throw new RangeError("bad value");
      if (event.what === "exit") process.exit(3);
      return { what: event.what, name: context.functionName, major: process.versions.node.split(".")[0] };
    };
"""

SEEN = bootstrap('{"event": json.loads(event), "handler": os.environ["_HANDLER"], "folder": os.getcwd()}')


def test_nodejs(world: World, deploy: Deployer) -> None:
    function = deploy.function(NODEJS, runtime="nodejs22.x", timeout=10)
    answer = world.invoke(function, {"what": "work"}, LogType="Tail")
    assert answer.function_error is None
    assert (answer.payload["what"], answer.payload["name"]) == ("work", function)
    log = base64.b64decode(answer.headers["x-amz-log-result"]).decode()
    assert "doing work" in log
    assert "REPORT RequestId:" in log

    failed = world.invoke(function, {"what": "fail"})
    assert failed.function_error == "Unhandled"
    assert (failed.payload["errorType"], failed.payload["errorMessage"]) == ("RangeError", "bad value")

    ended = world.invoke(function, {"what": "exit"})
    assert ended.payload["errorType"] == "Runtime.ExitError"
    assert world.invoke(function, {"what": "again"}).payload["what"] == "again"


def test_a_package_that_brings_its_own_runtime(world: World, deploy: Deployer) -> None:
    function = deploy.function(SEEN, runtime="provided.al2023", handler="some.thing", timeout=10)
    answer = world.invoke(function, {"a": 1})
    assert answer.function_error is None
    assert (answer.payload["event"], answer.payload["handler"]) == ({"a": 1}, "some.thing")


def test_a_package_that_lacks_its_runtime(world: World, deploy: Deployer) -> None:
    spec = {"runtime": "provided.al2023", "handler": "x", "code": {"files": {"main.go": "package main"}}}
    deploy.apply("Function", "lacking", spec)
    readiness = eventually(lambda: world.find_readiness("Function", "lacking"))
    assert (readiness.ready, readiness.reason) == (False, "InvalidCode")
    assert "need a program named bootstrap at the archive's root; found: main.go" in readiness.message
