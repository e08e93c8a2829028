"""The CRDs: structural schemas, generated from the API's types, and committed as generated."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from funclet.cli.crds import KINDS, build_crd, write_crds

CRDS = Path(__file__).parents[2] / "crds"

FORBIDDEN = {"$ref", "anyOf", "oneOf", "const", "title", "patternProperties", "propertyNames", "$defs"}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from nodes(schema[name], f"{path}[{name}]")


ALL = [
    pytest.param(path, node, id=f"{kind.plural}{path}")
    for kind in KINDS
    for path, node in nodes(build_crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
]


@pytest.mark.parametrize(("path", "node"), ALL)
def test_every_part_of_the_schema_is_structural(path: str, node: dict[str, Any]) -> None:
    assert not FORBIDDEN & node.keys()
    assert "type" in node
    assert "default" not in node or node["default"] is not None


@pytest.mark.parametrize(("path", "node"), ALL)
def test_every_field_of_a_spec_is_described(path: str, node: dict[str, Any]) -> None:
    if path.startswith((".spec", ".status")) and not path.endswith("]"):
        assert node.get("description"), path


def test_what_is_committed_is_what_is_generated(tmp_path: Path) -> None:
    write_crds(tmp_path)
    for file in sorted(tmp_path.iterdir()):
        assert (CRDS / file.name).read_text() == file.read_text(), "run `python -m funclet.cli.crds crds`"
