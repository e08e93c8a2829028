#!/usr/bin/env python3
"""A real Kubernetes for the tests: `cluster.py up`, `load`, `down`, … (how: README.md beside this file)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that `python3 tests/cluster/cluster.py` finds `tests`

from tests.cluster.commands import main

if __name__ == "__main__":
    sys.exit(main())
