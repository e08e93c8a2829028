"""YAML files of resources, read so that each mistake has its line."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from funclet.api.alias import Alias
from funclet.api.function import Function
from funclet.api.meta import ApiModel
from funclet.api.trigger import Trigger
from funclet.api.version import Version
from funclet.core.validation import Problem, problems_of

SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
"""Documents are parsed one by one, so that a syntax error in one leaves the others readable."""

MODELS: dict[str, type[ApiModel]] = {"Function": Function, "Version": Version, "Alias": Alias, "Trigger": Trigger}

KINDS = (*MODELS, "Secret", "ConfigMap")

VALUES = ("data", "stringData", "binaryData")
"""Where a Secret or ConfigMap has its values."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One document of a file: a resource in its wire form, or what is wrong with it.

    `name` is empty when the document is so wrong that it can't be told which resource it means.
    """

    file: Path
    line: int
    kind: str
    namespace: str
    name: str
    resource: dict[str, Any]
    problems: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[str, str]:
        """Kind and key."""
        return self.kind, f"{self.namespace}/{self.name}"


def read_manifests(file: Path) -> list[Manifest]:
    """All documents of one file; an unreadable file is one document with a problem."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return [_nameless(file, f"{file}: {error}")]
    return [manifest for part, line in _documents(text) for manifest in _read_document(file, part, line)]


def _documents(text: str) -> Iterator[tuple[str, int]]:
    """Each document with the number of lines before it."""
    start = 0
    for match in [*SEPARATOR.finditer(text), None]:
        end = match.start() if match else len(text)
        yield text[start:end], text.count("\n", 0, start)
        start = match.end() if match else end


def _read_document(file: Path, text: str, lines_before: int) -> list[Manifest]:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        resource = loader.construct_document(node) if node else None
    except yaml.YAMLError as error:
        return [_nameless(file, _syntax_problem(file, error, lines_before))]
    finally:
        loader.dispose()
    if node is None or resource is None:
        return []
    return [_read_resource(file, resource, node, lines_before)]


def _syntax_problem(file: Path, error: yaml.YAMLError, lines_before: int) -> str:
    mark = getattr(error, "problem_mark", None)
    line = lines_before + (mark.line + 1 if mark else 1)
    return f"{file}:{line}: not YAML: {getattr(error, 'problem', None) or error}"


def _read_resource(file: Path, resource: Any, node: yaml.Node, lines_before: int) -> Manifest:
    line = lines_before + node.start_mark.line + 1
    first = f"{file}:{line}"
    metadata = resource.get("metadata") if isinstance(resource, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return _nameless(file, f"{first}: not a resource: kind and metadata.name must be given")
    kind, name = str(resource.get("kind")), metadata["name"]
    namespace = str(metadata.get("namespace") or "default")
    title = f"{kind}/{name}"
    problems = [
        f"{file}:{lines_before + line_of(node, problem.path)}: {title}: {problem}"
        for problem in _problems(kind, resource)
    ]
    if kind not in KINDS:
        problems = [f"{first}: {title}: ignored: only {', '.join(KINDS)} are known in local mode"]
    return Manifest(file, line, kind, namespace, name, resource, tuple(problems))


def _problems(kind: str, resource: dict[str, Any]) -> list[Problem]:
    model = MODELS.get(kind)
    if model is None:
        return [
            Problem((name,), message) for name in VALUES if (message := _wrong_values(kind, name, resource.get(name)))
        ]
    if "status" in resource:
        return [Problem(("status",), "is written by Funclet; leave it out")]
    try:
        model.model_validate(resource)
    except ValidationError as error:
        return problems_of(error)
    return []


def _wrong_values(kind: str, name: str, values: Any) -> str:
    """What is wrong with the values of a Secret or ConfigMap; empty when nothing is."""
    if values is None:
        return ""
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        return "must be a map of texts: put quotation marks around numbers"
    if name == "binaryData" or (name == "data" and kind == "Secret"):
        wrong = [key for key, value in values.items() if not _is_base64(value)]
        return f"the values of {', '.join(wrong)} must be base64" if wrong else ""
    return ""


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def line_of(node: yaml.Node, path: tuple[str | int, ...]) -> int:
    """The line, from 1, of the deepest part of the path that the document has."""
    line = node.start_mark.line + 1
    for part in path:
        step = _step(node, part)
        if step is None:
            break
        node, line = step
    return line


def _step(node: yaml.Node, part: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((v, k.start_mark.line + 1) for k, v in node.value if k.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    return None


def _nameless(file: Path, problem: str) -> Manifest:
    return Manifest(file, 1, "", "", "", {}, (problem,))
