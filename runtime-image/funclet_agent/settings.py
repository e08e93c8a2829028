"""The agent's environment (docs/design/0001, "Agent's environment")."""

import os
import socket
from collections.abc import Mapping

from funclet_agent.limits import Limits
from funclet_agent.memory import MemoryLimit
from funclet_agent.places import Places

DEFAULT_WRITABLE = "/tmp:/dev:/proc"  # noqa: S108


class Settings:
    """What the agent is told at its start; nothing of it reaches the function."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.instance_name = environment.get("FUNCLET_INSTANCE_NAME") or socket.gethostname()
        self.specialise_digest = _digest(environment, "FUNCLET_SPECIALISE_TOKEN_SHA256")
        self.invoke_digest = _digest(environment, "FUNCLET_INVOKE_TOKEN_SHA256")
        self.agent_port = int(environment.get("FUNCLET_AGENT_PORT", "8700"))
        self.slot_port = int(environment.get("FUNCLET_SLOT_PORT", "8710"))
        self.bind = environment.get("FUNCLET_BIND", "0.0.0.0")
        self.places = Places(
            task=os.path.abspath(environment.get("FUNCLET_TASK_ROOT", "/var/task")),
            opt=os.path.abspath(environment.get("FUNCLET_OPT_ROOT", "/opt")),
            runtime=os.path.abspath(environment.get("FUNCLET_RUNTIME_ROOT", "/var/runtime")),
        )
        self.writable = (environment.get("FUNCLET_WRITABLE") or DEFAULT_WRITABLE).split(":")
        self.limits = Limits(_number(environment, "FUNCLET_MAX_PROCESSES"), _number(environment, "FUNCLET_TMP_MIB"))
        self.runtime_api_port = _number(environment, "FUNCLET_RUNTIME_API_PORT")
        """Where a runtime in another container is awaited; None where runtimes are started."""
        self.counts_memory = environment.get("FUNCLET_COUNT_MEMORY") == "1"
        self.memory_limit = MemoryLimit((environment.get("FUNCLET_MEMORY_LIMIT_FILES") or "").split(":"))
        ready_fd = environment.get("FUNCLET_READY_FD")
        self.ready_fd = int(ready_fd) if ready_fd else None


def _number(environment: Mapping[str, str], name: str) -> int | None:
    value = environment.get(name)
    return int(value) if value else None


def _digest(environment: Mapping[str, str], name: str) -> bytes:
    value = environment.get(name, "").lower()
    if len(value) != 64:
        raise SystemExit(f"{name} must hold a SHA-256 digest in hexadecimal")
    return value.encode()
