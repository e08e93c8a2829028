"""The body of POST /v1/specialise: four bytes of length, a JSON head, the zip."""

import json
from typing import Any

from funclet_agent.errors import AgentError

FIELDS: dict[str, type] = {
    "function": str,
    "revision": str,
    "runtime": str,
    "handler": str,
    "timeout_seconds": int,
    "memory_mib": int,
    "concurrency": int,
    "environment": dict,
    "function_arn": str,
    "function_version": str,
    "region": str,
    "log_format": str,
}
CHOICES = {
    "application_log_level": ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"),
    "system_log_level": ("DEBUG", "INFO", "WARN"),
    "initialization_type": ("on-demand", "provisioned-concurrency"),
}
"""May be absent; the levels have an effect with log_format JSON alone."""
MAX_SLOTS = 1000
IMAGE_RUNTIME = "image"
"""Code and runtime are in a container image."""


class SpecialisationError(AgentError):
    """The head cannot be used; the message says why."""


class Specialisation:
    """What makes this instance an instance of one function (funclet.core.messages.Specialisation)."""

    def __init__(self, head: dict[str, Any]) -> None:
        self.function: str = head["function"]
        self.revision: str = head["revision"]
        self.runtime: str = head["runtime"]
        self.handler: str = head["handler"]
        self.timeout_seconds: int = head["timeout_seconds"]
        self.memory_mib: int = head["memory_mib"]
        self.concurrency: int = head["concurrency"]
        self.environment: dict[str, str] = head["environment"]
        self.function_arn: str = head["function_arn"]
        self.function_version: str = head["function_version"]
        self.region: str = head["region"]
        self.log_format: str = head["log_format"]
        self.layer_bytes: list[int] = head.get("layer_bytes", [])
        """The sizes of the layers' archives, which precede the code's."""
        self.application_log_level: str = head.get("application_log_level") or "INFO"
        self.system_log_level: str = head.get("system_log_level") or "INFO"
        self.initialization_type: str = head.get("initialization_type") or "on-demand"

    @property
    def name(self) -> str:
        """The function's name, without its namespace and its version."""
        return self.function.rpartition("/")[2].partition(":")[0]


def split_body(body: memoryview) -> tuple[Specialisation, list[memoryview]]:
    """The head, checked, and the zips: the layers in their order, then the code."""
    length = int.from_bytes(body[:4], "big")
    if len(body) < 4 or len(body) < 4 + length:
        raise SpecialisationError("the body is shorter than its head")
    try:
        head = json.loads(bytes(body[4 : 4 + length]))
    except ValueError as error:
        raise SpecialisationError(f"the head is not JSON: {error}") from error
    spec = check_head(head)
    archives, start = [], 4 + length
    for size in spec.layer_bytes:
        archives.append(body[start : start + size])
        start += size
    if start > len(body):
        raise SpecialisationError("the body is shorter than its layers")
    return spec, [*archives, body[start:]]


def check_head(head: object) -> Specialisation:
    """All fields, with their types and the bounds that the agent itself depends on."""
    if not isinstance(head, dict):
        raise SpecialisationError("the head must be a JSON object")
    for name, kind in FIELDS.items():
        if not isinstance(head.get(name), kind):
            raise SpecialisationError(f"{name} must be there, of type {kind.__name__}")
    for name, value in head["environment"].items():
        if not isinstance(value, str) or "=" in name or "\0" in name + value or not name:
            raise SpecialisationError(f"the environment variable {name!r} cannot be set")
    sizes = head.get("layer_bytes", [])
    if not isinstance(sizes, list) or not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise SpecialisationError("layer_bytes must be a list of sizes")
    if not 1 <= head["concurrency"] <= MAX_SLOTS or head["timeout_seconds"] < 1:
        raise SpecialisationError(f"concurrency must be 1 to {MAX_SLOTS}, timeout_seconds at least 1")
    _check_choices(head)
    return Specialisation(head)


def _check_choices(head: dict[str, Any]) -> None:
    for name, choices in CHOICES.items():
        if head.get(name) not in (None, *choices):
            raise SpecialisationError(f"{name} must be one of {', '.join(choices)}, not {head[name]!r}")
