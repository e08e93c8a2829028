"""Writes the CustomResourceDefinitions: `python -m funclet.cli.crds OUTPUT_DIR`. All text is that of funclet.api."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from funclet.api.alias import Alias
from funclet.api.function import Function
from funclet.api.meta import GROUP, VERSION
from funclet.api.trigger import Trigger
from funclet.api.version import Version
from funclet.cli.structural import structural_schema

HEADER = "# Generated from operator/funclet/api by `python -m funclet.cli.crds`: change it there.\n"

READY = '.status.conditions[?(@.type=="Ready")]'

NAME_RULE = {
    "rule": "size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",
    "message": "metadata.name must be a DNS label: at most 63 characters, and no dots",
}

Column = tuple[str, str, str, int]
"""Name, type, path, and priority (1: with `-o wide` only)."""

FIRST: Column = ("Ready", "string", f"{READY}.status", 0)
LAST: tuple[Column, ...] = (
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Reason", "string", f"{READY}.reason", 1),
)


@dataclass(frozen=True)
class Kind:
    """What a CRD says beside the schema."""

    model: type[BaseModel]
    plural: str
    short: str
    columns: tuple[Column, ...]
    """Between those that every kind has."""


KINDS = (
    Kind(
        Function,
        "functions",
        "fn",
        (
            ("Runtime", "string", ".spec.runtime", 0),
            ("Memory", "integer", ".spec.memorySize", 0),
            ("Instances", "integer", ".status.instances", 0),
        ),
    ),
    Kind(
        Version,
        "versions",
        "fnv",
        (
            ("Function", "string", ".spec.function.name", 0),
            ("Version", "integer", ".status.version", 0),
        ),
    ),
    Kind(
        Alias,
        "aliases",
        "fna",
        (
            ("Function", "string", ".spec.function.name", 0),
            ("Alias", "string", ".spec.name", 0),
            ("Version", "string", ".status.active.functionVersion", 0),
            ("Additional", "string", ".status.active.additionalVersion", 0),
            ("Weight", "number", ".status.active.additionalWeight", 0),
        ),
    ),
    Kind(
        Trigger,
        "triggers",
        "trg",
        (
            ("Function", "string", ".spec.function.name", 0),
            ("Path", "string", ".spec.http.path", 0),
            ("Stream", "string", ".spec.jetstream.stream", 0),
            ("Schedule", "string", ".spec.schedule.scheduleExpression", 0),
        ),
    ),
)


def build_crd(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    name = kind.model.__name__
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "plural": kind.plural,
                "singular": name.lower(),
                "shortNames": [kind.short],
                "categories": ["funclet"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in (FIRST, *kind.columns, *LAST)],
                    "schema": {"openAPIV3Schema": _root_schema(kind.model)},
                }
            ],
        },
    }


def _column(column: Column) -> dict[str, Any]:
    name, kind, path, priority = column
    return {"name": name, "type": kind, "jsonPath": path, **({"priority": priority} if priority else {})}


def _root_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The API server itself knows apiVersion, kind and metadata; the CRD may only narrow the name."""
    schema = structural_schema(model)
    properties = schema["properties"]
    properties["apiVersion"] = {"type": "string"}
    properties["kind"] = {"type": "string"}
    properties["metadata"] = {"type": "object"}
    properties["status"].pop("default", None)
    return {**schema, "required": ["spec"], "x-kubernetes-validations": [NAME_RULE]}


def write_crds(folder: Path) -> None:
    """One file a kind."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        text = yaml.safe_dump(build_crd(kind), sort_keys=False, width=110, allow_unicode=True)
        (folder / f"{kind.plural}.yaml").write_text(HEADER + text, encoding="utf-8")


if __name__ == "__main__":
    write_crds(Path(sys.argv[1]))
