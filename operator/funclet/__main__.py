"""`python -m funclet ROLE` starts one role; its settings come from the environment (docs/design/0001)."""

from __future__ import annotations

import importlib
import sys

ROLES = ("control", "scaler", "gateway", "events")


def main(arguments: list[str]) -> int:
    """Runs the role that the arguments name, and nothing but that role is imported. Returns the exit code."""
    match arguments:
        case [role] if role in ROLES:
            importlib.import_module(f"funclet.{role}.main").main()
            return 0
        case [other]:
            problem = f"there is no role {other!r}"
        case _:
            problem = f"exactly one role must be named, not {len(arguments)}"
    print(f"funclet: {problem}; use python -m funclet ({' | '.join(ROLES)})", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
