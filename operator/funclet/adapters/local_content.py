"""What local mode makes of a manifest: folders are absolute, and what is in the code's shows."""

from pathlib import Path
from typing import Any

from funclet.adapters.code_directory import directory_mark
from funclet.adapters.manifests import Manifest

CODE_ANNOTATION = "funclet.dev/code"
"""Changes when a file of code.directory does, so that control resolves the function anew."""


def content_of(manifest: Manifest) -> dict[str, Any]:
    """The resource with its folders of code and layers made absolute, and an annotation that tells the code's state."""
    content = {**manifest.resource, "metadata": dict(manifest.resource["metadata"])}
    if layers := content.get("spec", {}).get("layers"):
        content["spec"] = {**content["spec"], "layers": [_layer(manifest, layer) for layer in layers]}
    folder = code_folder(content)
    if folder is None:
        return content
    folder = (manifest.file.parent / folder).resolve()
    content["spec"] = {**content["spec"], "code": {"directory": str(folder)}}
    annotations = {**(content["metadata"].get("annotations") or {}), CODE_ANNOTATION: directory_mark(folder)}
    content["metadata"]["annotations"] = annotations
    return content


def _layer(manifest: Manifest, layer: Any) -> Any:
    if not isinstance(layer, dict) or "directory" not in layer:
        return layer
    return {**layer, "directory": str((manifest.file.parent / layer["directory"]).resolve())}


def code_folder(content: dict[str, Any]) -> Path | None:
    """Where the function's code is, if it is a folder."""
    directory = content.get("spec", {}).get("code", {}).get("directory")
    return Path(directory) if directory else None


def code_mark(content: dict[str, Any]) -> str | None:
    """The state of that folder when the content was made."""
    annotations: dict[str, str] = content["metadata"].get("annotations") or {}
    return annotations.get(CODE_ANNOTATION)
