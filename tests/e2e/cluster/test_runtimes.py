"""Every runtime that the cluster has been given runs functions, in the version that its name says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.steps import run
from tests.e2e.bootstraps import bootstrap
from tests.e2e.conftest import Deployer
from tests.e2e.example_code import Shelf, shelf
from tests.e2e.worlds import RELEASE_NAMESPACE, ClusterWorld

from funclet.core.images import IMAGE_RUNTIME
from funclet.core.runtimes import family

PYTHON = """
    import sys

    def handler(event, context):
        return "python%d.%d" % sys.version_info[:2]
"""
NODEJS = 'export const handler = async () => `nodejs${process.versions.node.split(".")[0]}.x`;'
JAVA = """
public class Teller {
  public String tell(Object event) {
    return "java" + Runtime.version().feature();
  }
}
"""
INLINE = {"python": PYTHON, "nodejs": NODEJS, "provided": bootstrap('"provided.al2023"')}


@pytest.fixture
def archives(world: ClusterWorld) -> Iterator[Shelf]:
    with shelf(world.url) as started:
        yield started


def runtimes_of(world: ClusterWorld) -> list[str]:
    """What the chart has told the scaler, without what stands beside a function that is an image itself."""
    listed = world.kubectl("get", "deployment", "funclet-scaler", "-n", RELEASE_NAMESPACE, "-o", "json")
    [container] = json.loads(listed)["spec"]["template"]["spec"]["containers"]
    [images] = [one["value"] for one in container["env"] if one["name"] == "FUNCLET_RUNTIME_IMAGES"]
    return sorted(set(json.loads(images)) - {IMAGE_RUNTIME})


def compiled(folder: Path) -> Path:
    """The package of the function in Java."""
    source = folder / "Teller.java"
    source.write_text(JAVA)
    run(["javac", "--release", "17", "-d", folder / "package", source])
    return folder / "package"


def test_each_runtime_is_what_its_name_says(
    world: ClusterWorld, deploy: Deployer, archives: Shelf, tmp_path: Path
) -> None:
    java: dict[str, Any] = {"handler": "Teller::tell", "code": archives.put(compiled(tmp_path))}

    def told_by(runtime: str) -> Any:
        spec: dict[str, Any] = {"runtime": runtime, "memorySize": 256, "timeout": 30}
        kind = family(runtime)
        function = deploy.function(INLINE.get(kind, ""), **spec, **(java if kind == "java" else {}))
        return world.invoke(function).payload

    runtimes = runtimes_of(world)
    assert [told_by(runtime) for runtime in runtimes] == runtimes


def test_an_instance_has_lambdas_name_for_itself(world: ClusterWorld, deploy: Deployer) -> None:
    """Extensions listen for telemetry at that name."""
    source = """
        import socket

        def handler(event, context):
            return [socket.gethostbyname(name) for name in ("sandbox.localdomain", "sandbox")]
    """
    assert world.invoke(deploy.function(source)).payload == ["127.0.0.1", "127.0.0.1"]
