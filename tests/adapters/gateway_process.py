"""A gateway as a process of its own, as `python -m funclet gateway` is: with functions from FUNCTIONS (JSON: name →
settings) instead of the Kubernetes API. With FUNCLET_PROCESSES it supervises several of itself."""

import json
import os
import sys
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.adapters.scaler_world import MemoryResources, function

from funclet.adapters import logs
from funclet.gateway.main import run
from funclet.gateway.settings import GatewaySettings
from funclet.gateway.supervisor import supervise

PROGRAM = str(Path(__file__).resolve())


def main() -> None:
    """Read the environment and run."""
    settings = GatewaySettings.from_environment()
    logs.configure("gateway", settings.log_level)
    if settings.processes > 1:
        uvloop.run(supervise(settings, (sys.executable, PROGRAM)))
    else:
        named = json.loads(os.environ["FUNCTIONS"])
        objects = tuple(function(name, "r1", b"", **spec) for name, spec in named.items())
        uvloop.run(run(settings, MemoryResources(objects)))


if __name__ == "__main__":
    main()
