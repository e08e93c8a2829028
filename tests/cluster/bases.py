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
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import images, oci
from tests.cluster.cache import file_parts, key_of
from tests.cluster.steps import ClusterError, run


@dataclass(frozen=True)
class Base:
    """A Debian release and the image that it stands for; `python`: a version that this release lacks."""

    suite: str
    official: str
    python: str = ""


BASES = {
    "trixie": Base("trixie", "python:3.13-slim"),
    "bookworm": Base("bookworm", "python:3.11-slim-bookworm"),
    "bookworm-python3.12": Base("bookworm", "python:3.12-slim-bookworm", "3.12"),
}
BASE_PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")
BASE_RECIPE = "2"  # counts up when base_root makes something else of the same inputs
OWN_CERTIFICATES = Path("/usr/local/share/ca-certificates")
NOT_OF_PYTHON = ("test", "site-packages", "config-*", "__pycache__", "idlelib", "tkinter", "lib*.a")
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# What documents, translates or caches, and what the build left in the tree.
NOT_IN_BASE = (
    *("dev", "proc", "sys", "run", "tmp", "var/cache", "var/log", "var/lib/apt/lists"),
    *("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian"),
    *("etc/resolv.conf", "etc/hostname", "etc/machine-id"),
)


def base_image(tag: str, name: str) -> None:
    """A Debian with Python, pip and this machine's certificates and pip settings: it stands for python:VERSION-slim."""
    base = BASES[name]
    python = machine_python(base.python) if base.python else None
    certificates = sorted(OWN_CERTIFICATES.glob("*.crt"))
    pip_conf = pip_settings(machine_pip_settings())
    recipe = [BASE_RECIPE, base.suite, *BASE_PACKAGES, *NOT_IN_BASE, pip_conf, oci.full_name(tag)]
    if python is not None:
        recipe += [*NOT_OF_PYTHON, run([python / "bin" / "python3", "-VV"])]
    key = key_of([*recipe, *file_parts(OWN_CERTIFICATES, certificates)])

    def make(archive: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="base-", dir=archive.parent) as place:
            root, layer = Path(place, "root"), Path(place, "layer.tar")
            base_root(root, base.suite, certificates, pip_conf)
            if python is not None:
                add_python(root, python, base.python)
            write_layer(layer, root)
            oci.write_archive(archive, oci.full_name(tag), layer, oci.Runtime(command=("python3",)))

    images.keep(tag, key, make, f"building {tag} from Debian {base.suite} (half a minute)")


def machine_python(version: str) -> Path:
    """The folder of this machine's own Python of a version that no Debian release has: pyenv's."""
    try:
        return Path(run(["pyenv", "prefix", version]).strip())
    except (ClusterError, FileNotFoundError) as error:
        raise ClusterError(
            f"Python {version} is in no Debian release, and pyenv has none: pyenv install {version}"
        ) from error


def add_python(root: Path, python: Path, version: str) -> None:
    """Puts it, with pip, where python:VERSION-slim has it."""
    copy_python(root, python, version)
    run(["chroot", root, "ldconfig"])
    run(["chroot", root, "python3", "-m", "ensurepip"])


def copy_python(root: Path, python: Path, version: str) -> None:
    """To /usr/local, which comes before Debian's own on the PATH, without what no function needs."""
    leave_out = shutil.ignore_patterns(*NOT_OF_PYTHON)
    place = root / "usr/local"
    shutil.copytree(python / f"lib/python{version}", place / f"lib/python{version}", symlinks=True, ignore=leave_out)
    for library in python.glob("lib/libpython*.so*"):
        shutil.copy(library, place / "lib", follow_symlinks=False)
    shutil.copy(python / f"bin/python{version}", place / "bin")
    for name in ("python3", "python"):
        (place / "bin" / name).unlink(missing_ok=True)
        (place / "bin" / name).symlink_to(f"python{version}")


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
