"""Images of functions, built once for all checkouts, and brought to where a world takes them from."""

import hashlib
import os
from pathlib import Path

from tests.cluster import bases, commands, doctor, images
from tests.cluster.cache import cache_folder
from tests.cluster.steps import ClusterError, run

BASE = "localhost/funclet-base:trixie"
DOCKERFILE = Path(__file__).resolve().parents[2] / "examples" / "image" / "Dockerfile"
PODMAN_NEEDS = (*doctor.IMAGE_NEEDS, doctor.Need("podman", "podman"), doctor.Need("runc", "runc"))
CONTAINERS_CONF = """[containers]
default_ulimits = ["nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
"""Podman on a machine without systemd, and with cgroups of both versions."""


def choose_store() -> None:
    """From here on this process and its children have a store of Podman's of their own, below the cache."""
    folder = cache_folder() / "podman"
    folder.mkdir(parents=True, exist_ok=True)
    conf, storage = folder / "containers.conf", folder / "storage.conf"
    conf.write_text(CONTAINERS_CONF)
    storage.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "/run/funclet-podman"\n'
    )
    os.environ["CONTAINERS_CONF"], os.environ["CONTAINERS_STORAGE_CONF"] = str(conf), str(storage)


def bring(context: Path, world: str) -> str:
    """Build the Dockerfile of examples/image with the files of this folder; its name, where the world has it."""
    digest = hashlib.sha256(DOCKERFILE.read_bytes())
    for file in sorted(context.iterdir()):
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    tag = f"localhost/{context.name}-function:{digest.hexdigest()[:12]}"
    (_to_cluster if world == "cluster" else _to_podman)(tag, context)
    return tag


def _to_cluster(tag: str, context: Path) -> None:
    commands.base_image(BASE, "trixie")
    commands.build_image(tag, DOCKERFILE, context, [f"BASE={BASE}"])
    commands.load([tag])


def _to_podman(tag: str, context: Path) -> None:
    doctor.require(PODMAN_NEEDS)
    if _has(tag):
        return
    bases.base_image(BASE, "trixie")
    images.build_image(tag, DOCKERFILE, context, [f"BASE={BASE}"])
    run(["podman", "pull", "--quiet", f"oci-archive:{images.tag_link(tag).resolve()}"])


def _has(tag: str) -> bool:
    try:
        run(["podman", "image", "exists", tag])
    except ClusterError:
        return False
    return True
