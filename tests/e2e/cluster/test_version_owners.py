"""Versions and Aliases belong to their Function: Kubernetes deletes them with it."""

from tests.e2e.conftest import Deployer
from tests.e2e.worlds import ClusterWorld, eventually


def test_versions_and_aliases_go_with_their_function(world: ClusterWorld, deploy: Deployer) -> None:
    function = deploy.function("def handler(event, context): return context.function_version")
    deploy.apply("Version", f"{function}-1", {"function": {"name": function}})
    world.wait_ready("Version", f"{function}-1")
    deploy.apply("Alias", f"{function}-live", {"function": {"name": function}, "name": "live", "functionVersion": "1"})
    world.wait_ready("Alias", f"{function}-live")
    assert world.invoke_known(function, Qualifier="live").payload == "1"
    selector = f"funclet.dev/function={function},funclet.dev/version=1"
    eventually(lambda: len(world.objects("pods", world.namespace, selector)) == 1)  # labels are written later

    def owned() -> list[str]:
        found = [
            one for kind in ("versions", "aliases") for one in world.objects(f"{kind}.funclet.dev", world.namespace)
        ]
        return [one["metadata"]["name"] for one in found if one["metadata"]["name"].startswith(f"{function}-")]

    assert sorted(owned()) == [f"{function}-1", f"{function}-live"]
    deploy.delete("Function", function)
    eventually(lambda: owned() == [], seconds=60)
    eventually(lambda: world.post(f"{function}:live").status_code == 404)
    eventually(lambda: world.instances(function) == 0, seconds=60)
