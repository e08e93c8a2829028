"""Requests for instances, for the tests of what is made of them."""

from typing import Any

from funclet.api.pod import PodSettings
from funclet.core.instances import InstanceRequest


def instance_request(name: str = "python313-1", **changes: Any) -> InstanceRequest:
    """A request for a generic instance of a warm pool; `changes` are of its fields."""
    usual: dict[str, Any] = {
        "namespace": "team",
        "runtime": "python3.13",
        "memory_mib": 256,
        "ephemeral_storage_mib": 1024,
        "timeout_seconds": 30,
        "specialise_token_sha256": "5" * 64,
        "invoke_token_sha256": "6" * 64,
        "labels": {"funclet.dev/state": "generic"},
        "annotations": {},
        "pod": PodSettings(),
    }
    return InstanceRequest(name=name, **{**usual, **changes})
