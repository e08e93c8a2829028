"""Functions that are packaged as container images: the container beside the agent, and the variables that it gets.

Lambda's variables are set when the container is made, since nobody can tell a runtime anything later. What Lambda
leaves to the image (PATH, LANG, LAMBDA_TASK_ROOT, LAMBDA_RUNTIME_DIR) is left to it here, too.
"""

from dataclasses import dataclass
from typing import Any

from funclet.api.function import Environment
from funclet.core.messages import InitializationType
from funclet.core.qualifiers import LATEST

IMAGE_RUNTIME = "image"
"""In the place of a runtime's name: what is started for such a function is an agent that awaits its runtime."""
RUNTIME_API_PORT = 9001
"""On 127.0.0.1, as on Lambda."""
RUNTIME_API = f"127.0.0.1:{RUNTIME_API_PORT}"


@dataclass(frozen=True, slots=True)
class FunctionImage:
    """The image, what replaces its own settings (None: nothing does), and how the node gets it."""

    uri: str
    entry_point: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    working_directory: str | None = None

    @property
    def handler(self) -> str:
        """What AWS's base images take for the handler: their one parameter."""
        return self.command[0] if self.command else ""


@dataclass(frozen=True, slots=True)
class ImageFunction:
    """All that the container of a function's image is told."""

    image: FunctionImage
    name: str
    """The function's, without its namespace."""
    memory_mib: int
    environment: Environment
    log_format: str
    application_log_level: str | None
    initialization_type: InitializationType = "on-demand"
    version: str = LATEST
    """Its number."""


def lambda_variables(function: ImageFunction, instance: str, region: str) -> dict[str, str]:
    """What Lambda sets in an image's container, but for the address of the Runtime API."""
    variables = {
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mib),
        "AWS_LAMBDA_INITIALIZATION_TYPE": function.initialization_type,
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"[{function.version}]{instance}",
        "AWS_LAMBDA_LOG_FORMAT": function.log_format,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "TZ": ":UTC",
    }
    if function.log_format == "JSON":
        variables["AWS_LAMBDA_LOG_LEVEL"] = function.application_log_level or "INFO"
    if function.image.handler:
        variables["_HANDLER"] = function.image.handler
    return variables


def container_variables(function: ImageFunction, instance: str, region: str) -> list[dict[str, Any]]:
    """`env` of the container: the author's, Secrets by reference, then Lambda's, which win."""
    theirs: dict[str, dict[str, Any]] = {
        name: {"name": name, "value": literal(value)} for name, value in function.environment.variables.items()
    }
    for name, reference in function.environment.secrets.items():
        theirs[name] = {"name": name, "valueFrom": {"secretKeyRef": reference.to_wire()}}
    ours = {**lambda_variables(function, instance, region), "AWS_LAMBDA_RUNTIME_API": RUNTIME_API}
    return list({**theirs, **{name: {"name": name, "value": literal(ours[name])} for name in ours}}.values())


def container_command(image: FunctionImage) -> dict[str, Any]:
    """`command`, `args` and `workingDir` of the container: Kubernetes' names for ENTRYPOINT, CMD and WORKDIR."""
    settings: dict[str, Any] = {}
    if image.entry_point is not None:
        settings["command"] = [literal(part) for part in image.entry_point]
    if image.command is not None:
        settings["args"] = [literal(part) for part in image.command]
    if image.working_directory:
        settings["workingDir"] = image.working_directory
    return settings


def literal(text: str) -> str:
    """So that Kubernetes expands nothing in it: it reads $(NAME) as a variable, and $$ as $."""
    return text.replace("$", "$$")
