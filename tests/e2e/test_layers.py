"""Layers are laid over /opt in their order, and each language finds what is its own there."""

import base64
import io
import zipfile

from tests.e2e.conftest import Deployer
from tests.e2e.worlds import World, eventually


def test_a_python_function_imports_from_its_layers(world: World, deploy: Deployer) -> None:
    source = """
        import words, more

        def handler(event, context):
            return [words.WORD, more.WORD]
    """
    first = {"files": {"python/words.py": "WORD = 'first'", "python/more.py": "WORD = 'more'"}}
    second = {"files": {"python/words.py": "WORD = 'second'"}}
    function = deploy.function(source, layers=[first, second])
    assert world.invoke(function).payload == ["second", "more"]

    deploy.function(source, name=function, layers=[second, first])
    eventually(lambda: world.invoke(function).payload == ["first", "more"])


def test_a_nodejs_function_requires_from_its_layers(world: World, deploy: Deployer) -> None:
    source = 'const { word } = require("words");\nexports.handler = async () => word;\n'
    layer = {"files": {"nodejs/node_modules/words/index.js": 'exports.word = "layered";'}}
    function = deploy.function(source, runtime="nodejs22.x", layers=[layer], timeout=10)
    assert world.invoke(function).payload == "layered"


def test_a_hostile_layer_is_a_condition(world: World, deploy: Deployer) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("../../etc/passwd", "root")
    data = base64.b64encode(archive.getvalue()).decode()
    world.apply(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: hostile}}\nbinaryData: {{layer.zip: {data}}}\n")
    spec = {
        "runtime": "python3.13",
        "handler": "index.handler",
        "code": {"inline": "def handler(event, context): return 1"},
        "layers": [{"configMap": {"name": "hostile", "key": "layer.zip"}}],
    }
    deploy.apply("Function", "with-hostile-layer", spec)
    readiness = eventually(lambda: world.find_readiness("Function", "with-hostile-layer"))
    assert (readiness.ready, readiness.reason) == (False, "InvalidCode")
    assert "leads out of the archive" in readiness.message


EXTENSION = """#!/usr/bin/env python3
import http.client, json, os, tempfile
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, body, headers):
    api.request(method, "/2020-01-01/extension" + path, body, headers)
    answer = api.getresponse()
    return answer.read() and answer.headers
with open(os.path.join(tempfile.gettempdir(), "told"), "w") as file:
    file.write("by the extension")
events = json.dumps({"events": ["INVOKE", "SHUTDOWN"]})
known = call("POST", "/register", events, {"Lambda-Extension-Name": "teller"})["Lambda-Extension-Identifier"]
while True:
    call("GET", "/event/next", None, {"Lambda-Extension-Identifier": known})
"""


def test_a_layers_extension_runs_beside_the_function(world: World, deploy: Deployer) -> None:
    source = """
        import os, tempfile

        def handler(event, context):
            with open(os.path.join(tempfile.gettempdir(), "told")) as file:
                return file.read()
    """
    function = deploy.function(source, layers=[{"files": {"extensions/teller": EXTENSION}}], timeout=10)
    assert world.invoke(function).payload == "by the extension"
    assert world.invoke(function).payload == "by the extension"
