"""What is run for a runtime, and with which environment. It decides and starts nothing."""

import os
import sys
from collections.abc import Mapping

from funclet_agent.environment import AGENT_DIRECTORY, function_environment
from funclet_agent.places import Places
from funclet_agent.specialisation import IMAGE_RUNTIME, Specialisation

MANAGED_PATHS = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:{opt}/bin",
    "LD_LIBRARY_PATH": "{runtime}:{runtime}/lib:{task}:{task}/lib:{opt}/lib",
    "NODE_PATH": "{opt}/nodejs/node_modules:{runtime}/node_modules",
}
NOT_FOR_EXTENSIONS = frozenset(
    {
        *("AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"),
        *("LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "_HANDLER", "PYTHONPATH"),
    }
)
"""What AWS's page on extensions lists as the function's alone."""


class BootstrapError(Exception):
    """There is nothing to run (Runtime.InvalidEntrypoint)."""


PYTHON_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from funclet_agent.python_runtime import main; main(*sys.argv[2:])"
)
WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"


def is_fast(spec: Specialisation, places: Places) -> bool:
    """Whether the agent runs the function in a process forked from it: Python without extensions or wrapper."""
    plain = spec.runtime.startswith("python") and WRAPPER not in spec.environment
    return plain and not os.path.isdir(f"{places.opt}/extensions")


def find_command(spec: Specialisation, places: Places) -> list[str]:
    """The program and its arguments: the package's own bootstrap for provided.*, else the one of the image.

    A wrapper gets all of it as its arguments; provided.* know none.
    """
    if spec.runtime.startswith("provided"):
        return [_first_of(f"{places.task}/bootstrap", f"{places.opt}/bootstrap")]
    wrapper = [spec.environment[WRAPPER]] if WRAPPER in spec.environment else []
    if spec.runtime.startswith("python"):
        return [*wrapper, *_python_command(places)]
    return [*wrapper, _first_of(f"{places.runtime}/bootstrap")]


def _python_command(places: Places) -> list[str]:
    agent = os.path.dirname(AGENT_DIRECTORY)
    return [sys.executable, "-I", "-u", "-c", PYTHON_START, agent, places.task, places.opt, places.runtime]


def _first_of(*candidates: str) -> str:
    found = next((path for path in candidates if os.path.exists(path)), None)
    if found is None:
        raise BootstrapError(f"Couldn't find valid bootstrap(s): [{' '.join(candidates)}]")
    return found


def runtime_environment(
    inherited: Mapping[str, str], spec: Specialisation, places: Places, stream: str, api: str
) -> dict[str, str]:
    """All variables of the bootstrap; `api` is host:port of the Runtime API."""
    paths = {
        name: pattern.format(opt=places.opt, runtime=places.runtime, task=places.task)
        for name, pattern in MANAGED_PATHS.items()
    }
    if inherited.get("PATH"):
        paths["PATH"] = inherited["PATH"] + f":{places.opt}/bin"
    environment = paths | function_environment(inherited, spec, places.task, stream)
    if "PATH" not in spec.environment:
        environment["PATH"] = paths["PATH"]
    environment |= {"AWS_LAMBDA_RUNTIME_API": api, "LAMBDA_RUNTIME_DIR": places.runtime}
    if spec.runtime.startswith(("provided", IMAGE_RUNTIME)):
        del environment["AWS_EXECUTION_ENV"]
    return environment


def extension_environment(runtime: Mapping[str, str]) -> dict[str, str]:
    """What an external extension sees of it."""
    return {name: value for name, value in runtime.items() if name not in NOT_FOR_EXTENSIONS}
