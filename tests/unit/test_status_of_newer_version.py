"""What a newer Funclet wrote is read by the one that it was rolled back to."""

from typing import Any

import pytest

from funclet.api.alias import AliasStatus
from funclet.api.function_status import FunctionStatus
from funclet.api.meta import StatusModel
from funclet.api.trigger import TriggerStatus
from funclet.api.version import VersionStatus
from funclet.control.observed import parse_function

CONDITION = {"type": "Ready", "status": "True", "reason": "Resolved", "lastTransitionTime": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize("model", [FunctionStatus, TriggerStatus, VersionStatus, AliasStatus])
def test_unknown_fields_of_a_status_are_left_out(model: type[StatusModel]) -> None:
    written: dict[str, Any] = {"conditions": [CONDITION | {"severity": "Info"}], "health": {"green": True}}
    status = model.model_validate(written)
    assert status.to_wire()["conditions"] == [CONDITION | {"message": "", "observedGeneration": 0}]
    assert "health" not in status.to_wire()


def test_a_spec_that_is_not_understood_does_not_hide_the_status() -> None:
    wire = {
        "metadata": {"name": "hello"},
        "spec": {"runtime": "python9.9"},
        "status": {"conditions": [CONDITION], "health": {"green": True}},
    }
    assert parse_function(wire).status.conditions[0].reason == "Resolved"
