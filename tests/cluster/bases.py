"""Base images without a registry: a Debian with Python, in the part of python:VERSION-slim.

What only this machine knows, its certificates and where its pip looks for packages, goes into this image, so that
Dockerfiles need not say it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.cluster import images, oci
from tests.cluster.cache import file_parts, key_of
from tests.cluster.steps import run

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


def base_image(tag: str, suite: str) -> None:
    """A Debian with Python, pip and this machine's certificates and pip settings: it stands for python:VERSION-slim."""
    certificates = sorted(OWN_CERTIFICATES.glob("*.crt"))
    pip_conf = pip_settings(machine_pip_settings())
    recipe = [BASE_RECIPE, suite, *BASE_PACKAGES, *NOT_IN_BASE, pip_conf, oci.full_name(tag)]
    key = key_of([*recipe, *file_parts(OWN_CERTIFICATES, certificates)])

    def make(archive: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="base-", dir=archive.parent) as place:
            root, layer = Path(place, "root"), Path(place, "layer.tar")
            base_root(root, suite, certificates, pip_conf)
            write_layer(layer, root)
            oci.write_archive(archive, oci.full_name(tag), layer, oci.Runtime(command=("python3",)))

    images.keep(tag, key, make, f"building {tag} from Debian {suite} (half a minute)")


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
    mirror = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian"]).split()
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
