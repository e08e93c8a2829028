"""Helm for the chart's tests: HELM, or the one on the PATH, or the cluster's own, built if it has to be."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.cluster import builds

if TYPE_CHECKING:
    from collections.abc import Callable

CHART = Path(__file__).resolve().parents[2] / "helm" / "funclet"


@pytest.fixture(scope="session")
def helm_binary() -> str:
    return os.environ.get("HELM") or shutil.which("helm") or str(builds.build(builds.HELM))


@pytest.fixture(scope="session")
def helm(helm_binary: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs helm with a verb, the chart and more arguments; the caller looks at the exit code."""

    def run(verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        names = ["funclet"] if verb == "template" else []
        command = [helm_binary, verb, *names, str(CHART), "--namespace", "funclet", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def render(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., list[dict[str, Any]]]:
    """The chart's objects with these `--set` values."""

    def objects(*settings: str) -> list[dict[str, Any]]:
        arguments = [part for setting in settings for part in ("--set-json", setting)]
        rendered = helm("template", *arguments)
        assert rendered.returncode == 0, rendered.stderr
        return [document for document in yaml.safe_load_all(rendered.stdout) if document]

    return objects
