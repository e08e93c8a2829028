"""A version that an alias leads to is not gone before the alias leads elsewhere."""

import json
from typing import Any

from tests.e2e.conftest import Deployer
from tests.e2e.worlds import ClusterWorld, eventually


def test_a_deleted_version_serves_its_alias_until_that_leads_elsewhere(world: ClusterWorld, deploy: Deployer) -> None:
    function = deploy.function("def handler(event, context): return context.function_version")

    def point(version: str) -> None:
        spec = {"function": {"name": function}, "name": "live", "functionVersion": version}
        deploy.apply("Alias", f"{function}-live", spec)

    def find() -> dict[str, Any] | None:
        name = f"{function}-1"
        found = world.kubectl(
            "get", "versions.funclet.dev", name, "-n", world.namespace, "-o", "json", "--ignore-not-found"
        )
        return json.loads(found) if found else None

    deploy.apply("Version", f"{function}-1", {"function": {"name": function}})
    world.wait_ready("Version", f"{function}-1")
    point("1")
    world.wait_ready("Alias", f"{function}-live")
    eventually(lambda: (find() or {})["metadata"].get("finalizers"))
    deploy.delete("Version", f"{function}-1")
    eventually(lambda: "point live elsewhere" in (find() or {})["status"]["conditions"][0]["message"])
    assert world.invoke_known(function, Qualifier="live").payload == "1"
    point("$LATEST")
    eventually(lambda: find() is None)
    eventually(lambda: world.post(f"{function}:1").status_code == 404)
    assert world.invoke_known(function, Qualifier="live").payload == "$LATEST"
