"""What is run for a runtime, and with which environment. It decides and starts nothing."""

import os
from collections.abc import Mapping

from funclet_agent.environment import function_environment
from funclet_agent.places import Places
from funclet_agent.specialisation import Specialisation

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


def is_fast(spec: Specialisation) -> bool:
    """Whether the agent runs this function itself: Python, in a process forked from it."""
    return spec.runtime.startswith("python")


def find_command(spec: Specialisation, places: Places) -> list[str]:
    """The program and its arguments: the package's own bootstrap for provided.*, else the one of the image."""
    if spec.runtime.startswith("provided"):
        candidates = [f"{places.task}/bootstrap", f"{places.opt}/bootstrap"]
    else:
        candidates = [f"{places.runtime}/bootstrap"]
    found = next((path for path in candidates if os.path.exists(path)), None)
    if found is None:
        raise BootstrapError(f"Couldn't find valid bootstrap(s): [{' '.join(candidates)}]")
    wrapper = spec.environment.get("AWS_LAMBDA_EXEC_WRAPPER")
    return [wrapper, found] if wrapper and not spec.runtime.startswith("provided") else [found]


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
    if spec.runtime.startswith("provided"):
        del environment["AWS_EXECUTION_ENV"]
    return environment


def extension_environment(runtime: Mapping[str, str]) -> dict[str, str]:
    """What an external extension sees of it."""
    return {name: value for name, value in runtime.items() if name not in NOT_FOR_EXTENSIONS}
