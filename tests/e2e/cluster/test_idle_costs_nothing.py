"""A function that nobody calls is one custom resource, and nothing else."""

from tests.e2e.conftest import Deployer
from tests.e2e.worlds import ClusterWorld

KINDS = "pods,deployments,statefulsets,replicasets,services,jobs,cronjobs,configmaps,secrets"


def test_no_object_of_its_own(world: ClusterWorld, deploy: Deployer) -> None:
    function = deploy.function("def handler(event, context): return 1")
    assert [item for item in world.objects(KINDS, world.namespace) if function in str(item)] == []
    assert world.find_readiness("Function", function).ready  # type: ignore[union-attr]
