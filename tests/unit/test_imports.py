"""What a role loads as it starts: memory that each of its pods pays for."""

import subprocess
import sys

import pytest

HEAVY = ("kopf", "kubernetes", "botocore", "opentelemetry", "google.protobuf")


@pytest.mark.parametrize(
    ("role", "expected"),
    [("gateway", []), ("events", []), ("scaler", []), ("control", ["kopf", "kubernetes"])],
)
def test_a_role_loads_only_the_heavy_libraries_that_it_always_needs(role: str, expected: list[str]) -> None:
    program = f"import sys, funclet.{role}.main; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == str(expected)
