"""The protocol Store over a folder of YAML files, beside those of the user, which it only reads."""

from pathlib import Path
from typing import Any

import yaml

from funclet.adapters.files import FileResources, Stored
from funclet.adapters.resources import Page, object_key
from funclet.errors import Conflict

OWN_METADATA = ("name", "namespace", "labels", "annotations")
"""What is written of the metadata; FileResources makes up the rest."""


class FileStore:
    """Each resource is a file of the folder, which must be one of those that `resources` reads."""

    def __init__(self, resources: FileResources, folder: Path) -> None:
        self._resources = resources
        self._folder = folder.resolve()

    async def find(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """As it was read last."""
        stored = self._resources.stored.get((kind, f"{namespace}/{name}"))
        return None if stored is None else stored.resource

    async def page(self, kind: str, namespace: str, limit: int = 0, marker: str | None = None) -> Page:
        """In the order of their names; the marker is a name."""
        found = sorted(
            (
                stored.resource
                for (its_kind, _), stored in self._resources.stored.items()
                if its_kind == kind and stored.resource["metadata"]["namespace"] == namespace
            ),
            key=_name,
        )
        rest = [resource for resource in found if marker is None or _name(resource) > marker]
        shown = rest[:limit] if limit else rest
        return Page(shown, _name(shown[-1]) if len(shown) < len(rest) else None)

    async def create(self, resource: dict[str, Any]) -> dict[str, Any]:
        """A new file."""
        identity = resource["kind"], object_key(resource)
        if identity in self._resources.stored:
            raise Conflict(f"{identity[0]} {identity[1]} is there already", reason="AlreadyExists")
        return self._write(resource)

    async def replace(self, resource: dict[str, Any]) -> dict[str, Any]:
        """The file anew, if nothing has changed it since."""
        stored = self._own(resource["kind"], object_key(resource))
        if stored.resource["metadata"]["resourceVersion"] != resource["metadata"]["resourceVersion"]:
            raise Conflict(f"{resource['kind']} {object_key(resource)} has changed meanwhile")
        return self._write(resource)

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Without its file it is gone; with a Function go those of its Versions and Aliases that are in the folder."""
        files = [self._own(kind, f"{namespace}/{name}").file]
        if kind == "Function":
            files += [
                stored.file for stored in self._resources.stored.values() if self._belongs(stored, namespace, name)
            ]
        for file in files:
            file.unlink(missing_ok=True)
        self._resources.load()

    def _belongs(self, stored: Stored, namespace: str, function: str) -> bool:
        resource = stored.resource
        if resource["kind"] not in ("Version", "Alias") or stored.file.resolve().parent != self._folder:
            return False
        return (resource["metadata"]["namespace"], resource["spec"]["function"]["name"]) == (namespace, function)

    def _own(self, kind: str, key: str) -> Stored:
        stored = self._resources.stored.get((kind, key))
        if stored is None:
            raise Conflict(f"{kind} {key} is not there", reason="NotFound")
        if stored.file.resolve().parent != self._folder:
            raise Conflict(f"{kind} {key} is in {stored.file}: change it there", reason="ReadOnly")
        return stored

    def _write(self, resource: dict[str, Any]) -> dict[str, Any]:
        kind, key = resource["kind"], object_key(resource)
        metadata = {name: resource["metadata"][name] for name in OWN_METADATA if name in resource["metadata"]}
        document = {"apiVersion": resource["apiVersion"], "kind": kind, "metadata": metadata, "spec": resource["spec"]}
        file = self._folder / f"{kind.lower()}-{key.replace('/', '.')}.yaml"
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
        unfinished.replace(file)
        self._resources.load()
        return self._resources.stored[kind, key].resource


def _name(resource: dict[str, Any]) -> str:
    return str(resource["metadata"]["name"])
