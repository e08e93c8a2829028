"""Images without a registry: made here, kept as archives in the cache, imported into the cluster's containerd.

The cache has images/KEY.tar, named after what the image was made from, and images/tags/TAG, a link to a tag's newest.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from urllib.parse import quote, unquote

from tests.cluster import builds, configuration, dockerignore, node, oci
from tests.cluster.cache import appearing, cache_folder, file_parts, key_of, locked
from tests.cluster.steps import ClusterError, run, step

SUITES = {"trixie": "python:3.13-slim", "bookworm": "python:3.11-slim"}  # the suite, and the image it stands for
BASE_PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")
BASE_RECIPE = "2"  # counts up when base_root makes something else of the same inputs
OWN_CERTIFICATES = Path("/usr/local/share/ca-certificates")
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# What documents, translates or caches, and what the build left in the tree.
NOT_IN_BASE = (
    *("dev", "proc", "sys", "run", "tmp", "var/cache", "var/log", "var/lib/apt/lists"),
    *("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian"),
    *("etc/resolv.conf", "etc/hostname", "etc/machine-id"),
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


def base_image(tag: str, suite: str) -> None:
    """A Debian with Python, pip and this machine's certificates and pip settings: it stands for python:VERSION-slim."""
    certificates = sorted(OWN_CERTIFICATES.glob("*.crt"))
    pip_conf = pip_settings(machine_pip_settings())
    recipe = [BASE_RECIPE, suite, *BASE_PACKAGES, *NOT_IN_BASE, pip_conf, oci.full_name(tag)]
    key = key_of([*recipe, *file_parts(OWN_CERTIFICATES, certificates)])
    with locked(cache_folder() / "images.lock"):
        if archive_of(key).exists():
            print(f"{tag} is in the cache")
        else:
            with step(f"building {tag} from Debian {suite} (about a minute)"), appearing(archive_of(key)) as archive:
                with tempfile.TemporaryDirectory(prefix="base-", dir=images_folder()) as place:
                    root, layer = Path(place, "root"), Path(place, "layer.tar")
                    base_root(root, suite, certificates, pip_conf)
                    write_layer(layer, root)
                    oci.write_archive(archive, oci.full_name(tag), layer, oci.Runtime(command=("python3",)))
        point_tag(tag, key)


def machine_pip_settings() -> dict[str, str]:
    """pip's own settings of this machine, from its files and its environment: {"global.index-url": …}."""
    told = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    settings = {}
    for line in told.stdout.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            settings[name] = value.strip().strip("'\"")
    return settings


def pip_settings(machine: dict[str, str]) -> str:
    """The image's pip.conf: where this machine's pip looks for packages, with the image's own certificate bundle."""
    found = {name.split(".")[-1]: value for name, value in machine.items()}
    lines = [f"{name} = {found[name]}" for name in ("index-url", "extra-index-url", "trusted-host") if name in found]
    if "cert" in found:
        lines.append(f"cert = {CA_BUNDLE}")
    return "\n".join(["[global]", "disable-pip-version-check = true", "root-user-action = ignore", *lines, ""])


def base_root(root: Path, suite: str, certificates: list[Path], pip_conf: str) -> None:
    """The base image's file system, below this folder."""
    mirror = [
        line for line in run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian"]).split() if line
    ]
    packages = ",".join(BASE_PACKAGES)
    run(["debootstrap", "--variant=minbase", f"--include={packages}", suite, root, *mirror[:1]])
    for certificate in certificates:
        shutil.copy(certificate, root / OWN_CERTIFICATES.relative_to("/"))
    run(["chroot", root, "update-ca-certificates"])
    (root / "etc/pip.conf").write_text(pip_conf)
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()  # as in the image that this one stands for, pip may install for the whole system
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")


def write_layer(layer: Path, root: Path) -> None:
    """The tree as a layer, without what no container needs; the folders themselves stay."""

    def kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        name = entry.name.removeprefix("./")
        if any(name == left or name.startswith(f"{left}/") for left in NOT_IN_BASE):
            return entry if entry.isdir() and name in NOT_IN_BASE else None
        return entry

    with tarfile.open(layer, "w") as tar:
        tar.add(root, ".", filter=kept)


def build_image(tag: str, file: Path, context: Path, arguments: list[str]) -> None:
    """Builds a Dockerfile with buildah, unless the same content was built before."""
    ignore = ignore_file(file, context)
    bases = used_bases(file.read_text(), arguments, tagged_keys())
    key = image_key(
        tag, file, context, ignore, [*arguments, *(f"{name}={base}" for name, base in sorted(bases.items()))]
    )
    with locked(cache_folder() / "images.lock"):
        if archive_of(key).exists():
            print(f"{tag} is in the cache")
        else:
            with step(f"building {tag}"), appearing(archive_of(key)) as archive:
                for name, base in bases.items():
                    pull(name, base)
                options = [part for argument in arguments for part in ("--build-arg", argument)]
                ignoring = ["--ignorefile", str(ignore)] if ignore else []
                built = oci.full_name(tag)
                building = (
                    "build",
                    "--isolation",
                    "chroot",
                    "--network",
                    "host",
                    "--pull-never",
                    "--layers",
                    "--force-rm",
                    "--format",
                    "oci",
                )
                buildah(*building, "--tag", built, "--file", str(file), *ignoring, *options, str(context))
                buildah("push", "--disable-compression", built, f"oci-archive:{archive}:{built}")
        point_tag(tag, key)


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
    """buildah with a store of its own, below the cache."""
    store = cache_folder() / "buildah"
    store.mkdir(parents=True, exist_ok=True)
    driver = os.environ.get("STORAGE_DRIVER", "overlay")
    places = ("--root", str(store / driver), "--runroot", str(store / f"{driver}-run"), "--storage-driver", driver)
    return run(["buildah", *places, *arguments], environment={**os.environ, "BUILDAH_ISOLATION": "chroot"})


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
