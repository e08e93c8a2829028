"""The same cluster where Docker runs: kind, with the kind-config.yaml at the repository's root."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cluster.steps import ClusterError, run, step, succeeds

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = "funclet"


def is_chosen() -> bool:
    """FUNCLET_CLUSTER=kind or =node; left alone, kind where a Docker engine answers."""
    chosen = os.environ.get("FUNCLET_CLUSTER", "")
    if chosen not in ("", "kind", "node"):
        raise ClusterError("FUNCLET_CLUSTER must be kind or node")
    return chosen == "kind" or (chosen == "" and succeeds(["docker", "info"]))


def is_running() -> bool:
    return CLUSTER in run(["kind", "get", "clusters"]).split()


def up(kubeconfig: Path) -> None:
    with step("starting kind"):
        kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        if not is_running():
            config = ROOT / "kind-config.yaml"
            run(["kind", "create", "cluster", "--name", CLUSTER, "--config", config, "--wait", "180s"])
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(run(["kind", "get", "kubeconfig", "--name", CLUSTER]))


def down() -> None:
    with step("ending kind"):
        run(["kind", "delete", "cluster", "--name", CLUSTER])


def load(tag: str) -> None:
    run(["kind", "load", "docker-image", "--name", CLUSTER, tag])


def build_image(tag: str, file: Path, context: Path, arguments: list[str]) -> None:
    options = [part for argument in arguments for part in ("--build-arg", argument)]
    run(["docker", "build", "--tag", tag, "--file", file, *options, context])


def base_image(tag: str, official: str) -> None:
    """Docker has a registry: the base is the official image that the other cluster's base stands for."""
    run(["docker", "pull", official])
    run(["docker", "tag", official, tag])
