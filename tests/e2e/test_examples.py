"""examples/ do what their table says: each is applied as it stands, called by the printed line, and answers so."""

import json
import os
import re
import struct
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.e2e import function_images
from tests.e2e.conftest import WORLD, Deployer
from tests.e2e.example_code import EXAMPLES, folder_for, shelf
from tests.e2e.worlds import World, eventually

pytestmark = pytest.mark.timeout(900)
"""The first run on a machine builds some of them."""

ROW = re.compile(r"\| \[(?P<name>[\w-]+)\]\(.*\).* \| .* \| `(?P<command>.+)` \| `(?P<answer>.+)` \|")


@dataclass(frozen=True)
class Row:
    """One line of the table in examples/README.md."""

    name: str
    command: str
    answer: str

    def is_answered_by(self, printed: str) -> bool:
        """Whether that was printed; an answer that ends in … is a beginning."""
        if self.answer.endswith("…"):
            return printed.startswith(self.answer.removesuffix("…"))
        return bool(_plain(printed) == _plain(self.answer))


def _plain(text: str) -> Any:
    """JSON as what it says: neither its spaces nor its escapes matter."""
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


ROWS = [Row(**match.groupdict()) for match in ROW.finditer((EXAMPLES / "README.md").read_text())]
Example = Callable[[str], None]


@pytest.fixture
def example(world: World, deploy: Deployer) -> Iterator[Example]:
    """Applies an example's files."""
    with shelf(world.url) as archives:

        def place(name: str, source: dict[str, Any]) -> dict[str, Any]:
            """Local mode reads folders; a cluster gets them as archives from a web server. Images are built."""
            if "imageUri" in source:
                return {"imageUri": function_images.bring(EXAMPLES / name, WORLD)}
            if "directory" not in source:
                return source
            folder = folder_for(name, source["directory"], image=WORLD == "cluster")
            return archives.put(folder) if WORLD == "cluster" else {"directory": str(folder)}

        def apply(name: str) -> None:
            files = sorted((EXAMPLES / name).glob("*.yaml"))
            documents = [document for file in files for document in _documents(file)]
            for document in documents:
                if document["kind"] == "Secret":
                    world.apply(yaml.safe_dump(document))
                    continue
                spec = document["spec"]
                if document["kind"] == "Function":
                    spec["code"] = place(name, spec["code"])
                    spec["layers"] = [place(name, layer) for layer in spec.get("layers", [])]
                deploy.apply(document["kind"], document["metadata"]["name"], spec)
            for document in documents:
                if document["kind"] == "Function":
                    world.wait_ready("Function", document["metadata"]["name"])

        yield apply


def _documents(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text()))


def test_every_example_has_its_line() -> None:
    assert sorted(row.name for row in ROWS) == sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.name))
def test_the_printed_line_gets_the_printed_answer(row: Row, world: World, example: Example) -> None:
    example(row.name)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "URL": world.url, "FUNCLET_ENDPOINT": world.endpoint}

    def is_so() -> bool:
        done = subprocess.run(
            ["bash", "-c", row.command],
            capture_output=True,
            text=True,
            cwd=EXAMPLES.parent,
            env=environment,
            timeout=180,
        )
        assert row.is_answered_by(done.stdout), f"{done.stdout}\n{done.stderr}"
        return True

    eventually(is_so)  # a route may be a moment late


def test_the_notes_of_the_json_api(world: World, example: Example) -> None:
    example("json-api")
    with httpx.Client(base_url=world.url, timeout=30) as api:
        eventually(lambda: api.get("/notes").status_code == 200)
        eventually(lambda: api.get("/notes/9").json() == {"error": "there is no note 9"})
        tea = api.post("/notes", json={"title": "Buy tea"})
        assert (tea.status_code, tea.json()) == (201, {"id": "1", "title": "Buy tea", "done": False})
        api.post("/notes", json={"title": "Buy milk"})
        assert api.put("/notes/1", json={"title": "Drink tea", "done": True}).json()["title"] == "Drink tea"
        assert [note["id"] for note in api.get("/notes?done=false").json()] == ["2"]
        assert api.delete("/notes/2").status_code == 204
        assert api.get("/notes/2").status_code == 404
        assert [note["id"] for note in api.get("/notes").json()] == ["1"]
        for body, complaint in [
            (b"{", "the body is not JSON"),
            (b"[]", "the body must be an object with a title"),
            (b'{"title": 1}', "title: 1 is not right"),
            (b'{"title": "x", "colour": "red"}', "colour: 'red' is not right"),
        ]:
            refused = api.post("/notes", content=body, headers={"content-type": "application/json"})
            assert refused.status_code == 400
            assert refused.json()["error"].startswith(complaint)


def test_a_release_in_three_steps(world: World, deploy: Deployer) -> None:
    function = f"checkout-{uuid.uuid4().hex[:8]}"

    def apply(step: str) -> None:
        for file in sorted((EXAMPLES / "canary" / step).glob("*.yaml")):
            for document in yaml.safe_load_all(file.read_text().replace("checkout", function)):
                deploy.apply(document["kind"], document["metadata"]["name"], document["spec"])
                if document["kind"] != "Function":
                    world.wait_ready(document["kind"], document["metadata"]["name"])

    def answer(qualifier: str) -> Any:
        return world.invoke_known(function, {"items": [{"price": 2, "count": 3}]}, Qualifier=qualifier).payload

    first, second = {"total": 2, "by": "1"}, {"total": 6, "by": "2"}
    apply(".")
    eventually(lambda: answer("1") == answer("live") == first)
    apply("2-ten-percent")
    eventually(lambda: answer("live") == second, seconds=60)  # one call in ten
    assert answer("1") == first
    apply("3-all")
    eventually(lambda: all(answer("live") == second for _ in range(20)), seconds=60)


def test_the_size_of_a_thumbnail(world: World, example: Example) -> None:
    example("thumbnails")
    url, picture = f"{world.url}/thumbnail", (EXAMPLES / "thumbnails" / "picture.png").read_bytes()
    eventually(lambda: httpx.post(url, content=picture, timeout=30).status_code == 200)
    answer = httpx.post(f"{url}?width=32", content=picture, timeout=30)
    assert answer.headers["content-type"] == "image/png"
    assert struct.unpack(">II", answer.content[16:24]) == (32, 20)  # the original has 320 × 200
    assert httpx.post(url, content=b"no picture", timeout=30).status_code == 415
    assert httpx.post(f"{url}?width=0", content=picture, timeout=30).status_code == 400
