"""The environment and module path of a handler process, as Lambda sets them."""

import os
import sys
import time
from collections.abc import Mapping

from funclet_agent.places import Places
from funclet_agent.specialisation import Specialisation

AGENT_DIRECTORY = os.path.dirname(os.path.abspath(__file__))
LAYER_FOLDERS = (f"python/lib/python3.{sys.version_info.minor}/site-packages", "python")
"""Where layers have Python modules."""


def log_stream_name(version: str) -> str:
    """A name for this handler process's log, of the form that Lambda gives: date, version, random."""
    return time.strftime("%Y/%m/%d/", time.gmtime()) + f"[{version}]{os.urandom(16).hex()}"


def function_environment(
    inherited: Mapping[str, str], spec: Specialisation, task_root: str, stream: str
) -> dict[str, str]:
    """All variables of the handler process. Lambda's win over the user's, nothing of the agent's remains."""
    environment = {name: value for name, value in inherited.items() if not name.startswith("FUNCLET_")}
    environment.setdefault("LANG", "en_US.UTF-8")
    environment |= {"TZ": ":UTC", "PYTHONPATH": task_root, "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR"}
    environment |= spec.environment
    environment |= {
        "AWS_LAMBDA_FUNCTION_NAME": spec.name,
        "AWS_LAMBDA_FUNCTION_VERSION": spec.function_version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mib),
        "AWS_LAMBDA_INITIALIZATION_TYPE": spec.initialization_type,
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{spec.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_LAMBDA_LOG_FORMAT": spec.log_format,
        "AWS_REGION": spec.region,
        "AWS_DEFAULT_REGION": spec.region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{spec.runtime}",
        "LAMBDA_TASK_ROOT": task_root,
        "LAMBDA_RUNTIME_DIR": AGENT_DIRECTORY,
        "_HANDLER": spec.handler,
    }
    if spec.log_format == "JSON":
        environment["AWS_LAMBDA_LOG_LEVEL"] = spec.application_log_level
    return environment


def enter(environment: dict[str, str], places: Places) -> None:
    """Make this process the function's: variables, time zone, working directory, module path."""
    os.environ.clear()
    os.environ.update(environment)
    programs = environment.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join(dict.fromkeys([*programs, f"{places.opt}/bin"]))
    time.tzset()
    os.chdir(places.task)
    own = os.path.dirname(AGENT_DIRECTORY)
    extra = [path for path in environment["PYTHONPATH"].split(os.pathsep) if path and path != places.task]
    layers = [f"{places.opt}/{folder}" for folder in LAYER_FOLDERS]
    sys.path[:] = [places.task, *extra, *layers, *(path for path in sys.path if path != own)]
    sys.dont_write_bytecode = True
