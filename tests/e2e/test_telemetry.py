"""An extension that ships logs by the Telemetry API: the one of examples/telemetry, in a layer."""

import json
from pathlib import Path

import yaml
from tests.e2e.conftest import Deployer
from tests.e2e.worlds import World, eventually

EXAMPLE = Path(__file__).parents[2] / "examples" / "telemetry" / "function.yaml"
SOURCE = """
    import os, tempfile

    def handler(event, context):
        print("greeting", event)
        path = os.path.join(tempfile.gettempdir(), "shipped.ndjson")
        return open(path).read() if os.path.exists(path) else ""
"""


def test_an_extension_ships_what_is_told_and_printed(world: World, deploy: Deployer) -> None:
    layers = yaml.safe_load(EXAMPLE.read_text())["spec"]["layers"]
    function = deploy.function(SOURCE, layers=layers, timeout=10, scaling={"maxInstances": 1})
    world.invoke(function, "Ada")

    def shipped() -> list[dict[str, object]]:
        events = [json.loads(line) for line in world.invoke(function, "again").payload.splitlines()]
        return events if any(event["type"] == "platform.report" for event in events) else []

    events = eventually(shipped)
    assert [event["type"] for event in events[:1]] == ["platform.initStart"]
    assert "greeting Ada" in [event["record"] for event in events if event["type"] == "function"]
    report = next(event["record"] for event in events if event["type"] == "platform.report")
    assert isinstance(report, dict)
    assert report["status"] == "success"
