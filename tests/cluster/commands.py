"""The command line: what each command does, in order, on the node of this machine or on kind."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from tests.cluster import bases, builds, configuration, doctor, images, kind, node
from tests.cluster.cache import locked
from tests.cluster.steps import ClusterError, step

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
KUBECONFIG = BUILD / "kubeconfig"


def up() -> None:
    if kind.is_chosen():
        kind.up(KUBECONFIG)
        print(f"export KUBECONFIG={shlex.quote(str(KUBECONFIG))}")
        return
    doctor.require(doctor.NODE_NEEDS)
    for program in builds.PROGRAMS:
        builds.build(program)
    with locked(node.LOCK):
        if node.is_running():
            print("the cluster is running already")
        else:
            start_node()
        put_tools()
        node.write_private(KUBECONFIG, node.kubeconfig_text())
    print(f"node {configuration.NODE_NAME} at {configuration.NODE_ADDRESS}, logs in {node.STATE / 'log'}")
    print(f"export KUBECONFIG={shlex.quote(str(KUBECONFIG))} PATH={shlex.quote(str(BUILD / 'bin'))}:$PATH")


def start_node() -> None:
    node.end()  # what a killed cluster left
    try:
        node.start()
        with step("loading the pause image"):
            images.load_pause()
        node.settle()
    except BaseException:
        if not os.environ.get("FUNCLET_KEEP_FAILED"):
            node.end()
        raise


def put_tools() -> None:
    """build/bin/kubectl and build/bin/helm, of the versions that the tests want."""
    folder = BUILD / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    kubernetes = shlex.quote(str(builds.program_path(builds.KUBERNETES)))
    (folder / "kubectl").write_text(f'#!/bin/sh\nexec {kubernetes} kubectl "$@"\n')
    (folder / "kubectl").chmod(0o755)
    helm = folder / "helm"
    helm.unlink(missing_ok=True)
    helm.symlink_to(builds.program_path(builds.HELM))


def down() -> None:
    if kind.is_chosen():
        kind.down()
    else:
        with locked(node.LOCK), step("ending the cluster"):
            node.end()
    KUBECONFIG.unlink(missing_ok=True)


def status() -> int:
    running = kind.is_running() if kind.is_chosen() else node.is_running() and node.node_is_ready()
    print("running" if running else "not running")
    return 0 if running else 1


def run_doctor() -> int:
    if kind.is_chosen():
        print("Docker answers: kind is used, with kubectl and helm of this machine")
        return 0
    rows = doctor.findings()
    print(doctor.table(rows))
    return 0 if all(row.present for row in rows) else 1


def load(tags: list[str]) -> None:
    for tag in tags:
        with step(f"loading {tag}"):
            if kind.is_chosen():
                kind.load(tag)
            else:
                images.load(tag)


def base_image(tag: str, name: str) -> None:
    if kind.is_chosen():
        kind.base_image(tag, bases.BASES[name].official)
        return
    doctor.require(doctor.IMAGE_NEEDS)
    bases.base_image(tag, name)


def build_image(tag: str, file: Path, context: Path, arguments: list[str]) -> None:
    if kind.is_chosen():
        kind.build_image(tag, file, context, arguments)
        return
    doctor.require(doctor.IMAGE_NEEDS)
    images.build_image(tag, file.resolve(), context.resolve(), arguments)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="cluster.py", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="start the cluster, building what it needs the first time; write build/kubeconfig")
    commands.add_parser("down", help="end the cluster and remove everything it left on this machine")
    commands.add_parser("status", help="say whether the cluster runs (exit code 0) or not (1)")
    commands.add_parser("doctor", help="say what is missing on this machine, and how to install it")
    base = commands.add_parser("base-image", help="make the base image that stands for python:VERSION-slim")
    base.add_argument("tag", metavar="TAG")
    base.add_argument("--base", choices=sorted(bases.BASES), default="trixie", help="what it is made of (trixie)")
    image = commands.add_parser("build-image", help="build a Dockerfile, unless the cache has the same content built")
    image.add_argument("tag", metavar="TAG")
    image.add_argument("--file", type=Path, required=True, metavar="DOCKERFILE")
    image.add_argument("--context", type=Path, required=True, metavar="FOLDER")
    image.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", dest="arguments")
    loading = commands.add_parser("load", help="put built images into the running cluster")
    loading.add_argument("tags", nargs="+", metavar="TAG")
    return top


def dispatch(chosen: argparse.Namespace) -> int:
    match chosen.command:
        case "up":
            up()
        case "down":
            down()
        case "status":
            return status()
        case "doctor":
            return run_doctor()
        case "base-image":
            base_image(chosen.tag, chosen.base)
        case "build-image":
            build_image(chosen.tag, chosen.file, chosen.context, chosen.arguments)
        case "load":
            load(chosen.tags)
    return 0


def main() -> int:
    try:
        return dispatch(parser().parse_args())
    except ClusterError as error:
        print(f"cluster.py: {error}", file=sys.stderr)
        return 1
