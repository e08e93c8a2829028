"""The runtimes of this machine, for local mode: its interpreters, and the folders with AWS's runtime clients.

A cluster's image brings both. Here `make runtimes` (or runtime-image/LANGUAGE/build) makes the folders, and Python
needs none.
"""

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

from funclet.adapters.instances import containers
from funclet.core.images import IMAGE_RUNTIME
from funclet.core.runtimes import family

PROGRAMS = {"nodejs": "node", "java": "java"}
"""What a family's bootstrap starts."""
PROBE_TIMEOUT_SECONDS = 60.0
FOLDERS_VARIABLE = "FUNCLET_RUNTIMES"


def folders() -> Path:
    """FUNCLET_RUNTIMES, or build/runtimes of the checkout that this package is in."""
    chosen = os.environ.get(FOLDERS_VARIABLE)
    return Path(chosen) if chosen else Path(__file__).resolve().parents[4] / "build" / "runtimes"


def runtime_root(runtime: str) -> Path:
    """What is /var/runtime in the runtime's image."""
    return folders() / family(runtime)


def find_problem(runtime: str) -> str:
    """Why this machine cannot run it, and what to do; empty if it can."""
    if runtime == IMAGE_RUNTIME:
        return containers.find_problem()
    kind = family(runtime)
    program = PROGRAMS.get(kind)
    if program is None:
        return ""
    if shutil.which(program) is None:
        return f"{runtime} needs {program} on this machine's PATH: install it"
    if not (runtime_root(runtime) / "bootstrap").exists():
        return (
            f"{runtime} needs AWS's runtime client in {runtime_root(runtime)}: run `make runtimes` in a checkout, "
            f"or set {FOLDERS_VARIABLE} to a folder that has {kind}/bootstrap"
        )
    return ""


@functools.cache
def find_difference(runtime: str) -> str:
    """What this machine runs in the place of the runtime's own version; empty if it is that one, or not known."""
    program = PROGRAMS.get(family(runtime))
    wanted = re.search(r"\d+", runtime)
    found = _major_version(program) if program else None
    if wanted is None or found is None or found == wanted.group():
        return ""
    return f"{runtime} is not on this machine: {program} {found} takes its place"


def _major_version(program: str) -> str | None:
    try:
        answer = subprocess.run(  # noqa: S603 - a program named by us, found on the user's own PATH
            [program, "--version"], capture_output=True, text=True, timeout=PROBE_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\d+", answer.stdout)
    return found.group() if found else None
