"""Functions that are packaged as images, in local mode: the image runs with Podman or Docker of this machine.

To the agent such a container is a `bootstrap` like any other: one that starts the container and ends with it
(container_guard.py). It shares this machine's network, so that it reaches the Runtime API on 127.0.0.1.
"""

import asyncio
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from funclet.adapters.instances import container_guard
from funclet.core.images import ImageFunction, lambda_variables
from funclet.core.instances import InstanceRequest
from funclet.errors import Unavailable

PROBE_TIMEOUT_SECONDS = 60.0
MAX_PROCESSES = 32768
"""Of all such containers together, since they have one user. Podman itself has no more."""
USER = "993:990"
"""Lambda's own (sbx_user1051), on a cluster one of the instance's own: none that an image knows."""


def find_engine() -> str | None:
    """Podman, or else Docker if it answers: its client may be there without its server."""
    docker = shutil.which("docker")
    return shutil.which("podman") or (docker if docker and _answers(docker) else None)


def _answers(engine: str) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - found on the user's own PATH
            [engine, "version"], capture_output=True, timeout=PROBE_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def find_problem() -> str:
    """Why this machine cannot run images, and what to do; empty if it can."""
    if find_engine() is not None:
        return ""
    return "packageType Image needs Podman or Docker on this machine: install podman, or start Docker"


async def bring_image(engine: str, request: InstanceRequest) -> None:
    """Have the image on this machine, from its registry if need be. Raises Unavailable in the engine's words."""
    assert request.image is not None
    uri, policy = request.image.image.uri, request.pod.image_pull_policy
    if policy != "Always" and await _run(engine, "image", "inspect", uri) == "":
        return
    if policy == "Never":
        raise Unavailable(f"the image {uri} is not on this machine", reason="ErrImageNeverPull")
    if problem := await _run(engine, "pull", "--quiet", uri):
        raise Unavailable(f"the image {uri} cannot be had: {problem}", reason="ErrImagePull")


async def _run(engine: str, *arguments: str) -> str:
    """The last line of what went wrong; empty if nothing did."""
    process = await asyncio.create_subprocess_exec(
        engine,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    lines = said.decode(errors="replace").strip().splitlines()
    return "" if process.returncode == 0 else (lines or [f"{arguments[0]} ended with {process.returncode}"])[-1]


def write_bootstrap(folder: Path, engine: str, request: InstanceRequest) -> None:
    """What the agent takes for the runtime: a program in this folder that runs the container."""
    assert request.image is not None
    folder.mkdir()
    settings, bootstrap = folder / "container.json", folder / "bootstrap"
    described = {
        "engine": engine,
        "name": request.name,
        "options": engine_options(request, request.image, _max_processes()),
        "image": request.image.image.uri,
        "command": _command(request.image),
        "variables": _variables(request.image),
        # The agent's own says nothing of where the engine has its images.
        "engine_environment": dict(os.environ),
        "pid_file": str(folder / "pid"),
    }
    settings.write_text(json.dumps(described))
    words = [sys.executable, "-I", container_guard.__file__, str(settings)]
    bootstrap.write_text(f"#!/bin/sh\nexec {shlex.join(words)}\n")
    bootstrap.chmod(0o755)


def _max_processes() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    return MAX_PROCESSES if hard == resource.RLIM_INFINITY else min(hard, MAX_PROCESSES)


def engine_options(request: InstanceRequest, function: ImageFunction, max_processes: int) -> list[str]:
    """As the pod on a cluster: no rights, a read-only root, /tmp of its size, the function's memory.

    Engines would ask for more processes than a user may have where that cannot be raised: `max_processes` is in their
    place.
    """
    image, memory = function.image, f"{request.memory_mib}m"
    options = [
        *("--network", "host", "--read-only", "--user", USER),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--tmpfs", f"/tmp:rw,mode=1777,size={request.ephemeral_storage_mib}m"),  # noqa: S108 - in the container
        *("--memory", memory, "--memory-swap", memory),
        *("--ulimit", "nofile=1024:1024", "--ulimit", f"nproc={max_processes}:{max_processes}"),
    ]
    if image.working_directory:
        options += ["--workdir", image.working_directory]
    if image.entry_point:
        # The rest of it goes before the parameters: an engine takes one word.
        options += ["--entrypoint", image.entry_point[0]]
    return options


def _command(function: ImageFunction) -> list[str]:
    return [*(function.image.entry_point or ())[1:], *(function.image.command or ())]


def _variables(function: ImageFunction) -> list[str]:
    """The names of those that the container gets of what the agent sets."""
    of_lambda: dict[str, Any] = lambda_variables(function, "", "")
    theirs = [*function.environment.variables, *function.environment.secrets]
    return sorted({*of_lambda, "AWS_LAMBDA_RUNTIME_API", *theirs})
