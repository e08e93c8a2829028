"""The API server refuses nonsense and says what must hold."""

import pytest
import yaml
from tests.e2e.conftest import Deployer
from tests.e2e.worlds import ClusterWorld, eventually

GOOD = {"runtime": "python3.13", "handler": "index.handler", "code": {"inline": "def handler(event, context): pass"}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"memorySize": 64}, "should be greater than or equal to 128"),
        ({"timeout": 901}, "should be less than or equal to 900"),
        ({"runtime": "cobol"}, "Unsupported value"),
        ({"code": {}}, "code must have exactly one of inline, files, configMap, url, imageUri or packageSha256"),
        ({"tiemout": 3}, "unknown field"),
    ],
)
def test_kubectl_apply_is_refused(world: ClusterWorld, change: dict[str, object], message: str) -> None:
    resource = {"apiVersion": "funclet.dev/v1", "kind": "Function", "metadata": {"name": "wrong"}}
    text = yaml.safe_dump({**resource, "spec": {**GOOD, **change}})
    done = world.run("apply", "-n", world.namespace, "-f", "-", stdin=text)
    assert done.returncode != 0
    assert message in done.stderr


def test_a_bad_change_leaves_the_function_serving(world: ClusterWorld, deploy: Deployer) -> None:
    function = deploy.function("def handler(event, context): return 1")
    reference = {"configMap": {"name": "not-there", "key": "code.zip"}}
    deploy.apply("Function", function, {**GOOD, "code": reference})
    readiness = eventually(lambda: world.find_readiness("Function", function))
    assert (readiness.ready, readiness.reason) == (False, "CodeNotFound")
    assert world.invoke(function).payload == 1
