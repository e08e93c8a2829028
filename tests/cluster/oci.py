"""Container images as archives in the OCI image layout, written without a container tool: of one layer."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Runtime:
    """How a container of the image starts."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    user: str = ""
    labels: dict[str, str] = field(default_factory=dict)


def full_name(tag: str) -> str:
    """The name by which the kubelet asks for a tag: "a/b" is docker.io/a/b:latest, "b" docker.io/library/b:latest."""
    registry, slash, rest = tag.partition("/")
    named = slash and ("." in registry or ":" in registry or registry == "localhost")
    if not named:
        rest = tag if slash else f"library/{tag}"
        registry = "docker.io"
    if "@" not in rest and ":" not in rest.rpartition("/")[2]:
        rest += ":latest"
    return f"{registry}/{rest}"


def configuration_of(layer_digest: str, runtime: Runtime) -> dict[str, Any]:
    settings: dict[str, Any] = {"Env": list(runtime.environment)}
    if runtime.entrypoint:
        settings["Entrypoint"] = list(runtime.entrypoint)
    if runtime.command:
        settings["Cmd"] = list(runtime.command)
    if runtime.user:
        settings["User"] = runtime.user
    if runtime.labels:
        settings["Labels"] = runtime.labels
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        "history": [{"created_by": "tests/cluster"}],  # one a layer, or nothing can be built upon the image
    }


def write_archive(archive: Path, name: str, layer: Path, runtime: Runtime) -> None:
    """The archive of an image whose one layer is this tar file."""
    with layer.open("rb") as content:
        layer_digest = f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"
    config = json.dumps(configuration_of(layer_digest, runtime), sort_keys=True).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, config),
            "layers": [{"mediaType": LAYER, "digest": layer_digest, "size": layer.stat().st_size}],
        },
        sort_keys=True,
    ).encode()
    annotated = {**descriptor(MANIFEST, manifest), "annotations": {"org.opencontainers.image.ref.name": name}}
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [annotated]}).encode()
    with tarfile.open(archive, "w") as tar:
        add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        add(tar, "index.json", index)
        add(tar, blob_path(descriptor(CONFIG, config)["digest"]), config)
        add(tar, blob_path(descriptor(MANIFEST, manifest)["digest"]), manifest)
        tar.add(layer, blob_path(layer_digest))


def descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {
        "mediaType": media_type,
        "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "size": len(content),
    }


def blob_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o644
    tar.addfile(entry, io.BytesIO(content))


def write_program_layer(layer: Path, program: Path) -> None:
    """A layer with one static program, /NAME."""
    with tarfile.open(layer, "w") as tar:
        entry = tarfile.TarInfo(program.name)
        entry.size = program.stat().st_size
        entry.mode = 0o755
        with program.open("rb") as content:
            tar.addfile(entry, content)
