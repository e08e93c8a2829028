"""The agent's own log: one JSON line on standard error for each transition."""

import json

from funclet_agent.lines import timestamp
from funclet_agent.logs import write_patiently


def report(message: str, **fields: object) -> None:
    """Write one line; never code, payloads or variables of a function."""
    line = {"time": timestamp(), "level": "INFO", "logger": "funclet.agent", "message": message, **fields}
    write_patiently(2, json.dumps(line).encode() + b"\n")
