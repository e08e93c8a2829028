"""Images without a registry: made here, kept as archives in the cache, imported into the cluster's containerd.

The cache has images/KEY.tar, named after what the image was made from, and images/tags/TAG, a link to a tag's newest.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from tests.cluster import builds, configuration, dockerignore, node, oci
from tests.cluster.cache import appearing, cache_folder, file_parts, key_of, locked
from tests.cluster.steps import ClusterError, run, step

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT_SECONDS = 24 * 3600.0  # an untagged archive: another checkout may want it again
# Chroot isolation needs no privilege that a sandboxed machine may lack; --layers keeps each step for the next build.
BUILD_OPTIONS = (
    *("--isolation", "chroot", "--network", "host", "--pull-never"),
    *("--layers", "--force-rm", "--format", "oci"),
)


def images_folder() -> Path:
    return cache_folder() / "images"


def archive_of(key: str) -> Path:
    return images_folder() / f"{key}.tar"


def tag_link(tag: str) -> Path:
    return images_folder() / "tags" / quote(oci.full_name(tag), safe="")


def point_tag(tag: str, key: str) -> None:
    """Makes this archive the newest of the tag."""
    with appearing(tag_link(tag)) as draft:
        draft.symlink_to(Path("..") / archive_of(key).name)


def tagged_keys() -> dict[str, str]:
    """Every tag in the cache, in full, with the key of its newest archive."""
    folder = images_folder() / "tags"
    links = folder.iterdir() if folder.is_dir() else iter(())
    return {unquote(link.name): Path(os.readlink(link)).stem for link in links if link.exists()}


def load(tag: str) -> None:
    """Imports the tag's newest archive, under the name by which the kubelet looks for it."""
    link = tag_link(tag)
    if not link.exists():
        raise ClusterError(f"no image {tag} was built: cluster.py build-image {tag} --file … --context …")
    import_archive(link.resolve())


def import_archive(archive: Path) -> None:
    socket = configuration.CONTAINERD_SOCKET
    node.in_node("ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", archive)


def load_pause() -> None:
    """The image of pods' sandboxes, from the pause program."""
    program = builds.build(builds.PAUSE)
    key = key_of(["pause", configuration.PAUSE_IMAGE, program.read_bytes()])
    if not archive_of(key).exists():
        with appearing(archive_of(key)) as archive, tempfile.TemporaryDirectory() as folder:
            layer = Path(folder) / "layer.tar"
            oci.write_program_layer(layer, program)
            oci.write_archive(
                archive, configuration.PAUSE_IMAGE, layer, oci.Runtime(entrypoint=("/pause",), user="65535:65535")
            )
    import_archive(archive_of(key))


def build_image(tag: str, file: Path, context: Path, arguments: list[str]) -> None:
    """Builds a Dockerfile with buildah, unless the same content was built before."""
    ignore = ignore_file(file, context)
    bases = used_bases(file.read_text(), arguments, tagged_keys())
    settings = [*arguments, *(f"{name}={base}" for name, base in sorted(bases.items()))]
    key = image_key(tag, file, context, ignore, settings)
    options = [part for argument in arguments for part in ("--build-arg", argument)]
    if ignore:
        options += ["--ignorefile", str(ignore)]

    def make(archive: Path) -> None:
        for name, base in bases.items():
            pull(name, base)
        name = oci.full_name(tag)
        buildah("build", *BUILD_OPTIONS, "--tag", name, "--file", str(file), *options, str(context))
        buildah("push", "--disable-compression", name, f"oci-archive:{archive}:{name}")

    keep(tag, key, make, f"building {tag}")


def keep(tag: str, key: str, make: Callable[[Path], None], title: str) -> None:
    """Has the archive of this key made, if the cache does not hold it, and makes it the tag's newest."""
    with locked(cache_folder() / "images.lock"):
        if archive_of(key).exists():
            archive_of(key).touch()
            print(f"{tag} is in the cache")
        else:
            with step(title), appearing(archive_of(key)) as archive:
                make(archive)
        point_tag(tag, key)
        forget_unused(time.time())


def forget_unused(now: float) -> None:
    """Removes the archives that are no tag's newest and that nobody asked for lately."""
    kept = set(tagged_keys().values())
    for archive in images_folder().glob("*.tar"):
        if archive.stem not in kept and archive.stat().st_mtime < now - KEPT_SECONDS:
            archive.unlink()


def ignore_file(file: Path, context: Path) -> Path | None:
    """The Dockerfile's own ignore file, or else the context's."""
    candidates = (file.with_name(f"{file.name}.dockerignore"), context / ".dockerignore")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def used_bases(dockerfile: str, arguments: list[str], tags: dict[str, str]) -> dict[str, str]:
    """The images of the cache that a build names, in the Dockerfile or its arguments, with their keys."""
    words = {word.strip("\"'") for word in dockerfile.replace("=", " ").split()}
    words.update(argument.partition("=")[2] for argument in arguments)
    return {name: tags[name] for name in map(oci.full_name, filter(None, words)) if name in tags}


def image_key(tag: str, file: Path, context: Path, ignore: Path | None, settings: list[str]) -> str:
    rules = dockerignore.parse(ignore.read_text()) if ignore else []
    parts = file_parts(context, dockerignore.context_files(context, rules))
    return key_of([oci.full_name(tag), file.read_bytes(), str(len(settings)), *settings, *parts])


def buildah(*arguments: str) -> str:
    """buildah with a store of its own below the cache; its mounts go with its mount namespace when it ends."""
    store = cache_folder() / "buildah"
    store.mkdir(parents=True, exist_ok=True)
    driver = os.environ.get("STORAGE_DRIVER", "overlay")
    with tempfile.TemporaryDirectory(prefix="run-", dir=store) as mounted_now:
        places = ("--root", store / driver, "--runroot", mounted_now, "--storage-driver", driver)
        return run(["unshare", "--mount", "buildah", *places, *arguments])


def pull(name: str, key: str) -> None:
    """Puts an archive of the cache into buildah's store, if that has another one under the name or none."""
    known = cache_folder() / "buildah" / "bases.json"
    held: dict[str, str] = json.loads(known.read_text()) if known.exists() else {}
    if held.get(name) == key and name in buildah("images", "--format", "{{.Name}}:{{.Tag}}").split():
        return
    image = buildah("pull", "--quiet", f"oci-archive:{archive_of(key)}").split()[-1]
    buildah("tag", image, name)
    with appearing(known) as draft:
        draft.write_text(json.dumps({**held, name: key}))
