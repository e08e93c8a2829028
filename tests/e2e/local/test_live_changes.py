"""A function whose code is a folder beside the YAML: a saved file is live at once."""

from tests.e2e.conftest import Deployer
from tests.e2e.worlds import LocalWorld, eventually


def test_a_saved_handler_is_live(world: LocalWorld, deploy: Deployer) -> None:
    folder = world.folder / "live"
    folder.mkdir()
    (folder / "app.py").write_text("def handler(event, context): return 1\n")
    deploy.apply("Function", "live", {
        "runtime": "python3.13", "handler": "app.handler", "code": {"directory": "./live"},
    })  # fmt: skip
    world.wait_ready("Function", "live")
    assert world.invoke("live").payload == 1
    (folder / "app.py").write_text("def handler(event, context): return 'two'\n")
    eventually(lambda: world.invoke("live").payload == "two")
