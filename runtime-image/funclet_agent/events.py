"""The agent's own log: one JSON line on standard error for each transition."""

import json
import os

from funclet_agent.lines import timestamp


def report(message: str, **fields: object) -> None:
    """Write one line; never code, payloads or variables of a function."""
    line = {"time": timestamp(), "level": "INFO", "logger": "funclet.agent", "message": message, **fields}
    try:
        os.write(2, json.dumps(line).encode() + b"\n")
    except OSError:
        return
