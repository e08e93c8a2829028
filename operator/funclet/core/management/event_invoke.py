"""PutFunctionEventInvokeConfig and its kin: from Lambda's parameters to spec.eventInvokeConfig, and back."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from funclet.api.event_invoke import EventInvokeConfig
from funclet.core.management.annotations import EVENT_INVOKE_MODIFIED, annotations_of
from funclet.core.management.destinations import destination_arn, read_destination

NUMBERS = {
    "MaximumRetryAttempts": "maximumRetryAttempts",
    "MaximumEventAgeInSeconds": "maximumEventAgeInSeconds",
}
SIDES = {"OnSuccess": "onSuccess", "OnFailure": "onFailure"}


def changed_config(config: Mapping[str, Any], params: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """The configuration with what the parameters say; what they leave out stays."""
    changed = {**config, **{field: params[name] for name, field in NUMBERS.items() if name in params}}
    if (given := params.get("DestinationConfig")) is not None:
        places = {
            field: read_destination(f"DestinationConfig.{side}.Destination", arn, namespace)
            for side, field in SIDES.items()
            if (arn := (given.get(side) or {}).get("Destination"))
        }
        changed["destinationConfig"] = places
    return changed


def find_answer(resource: Mapping[str, Any], arn: str, region: str) -> dict[str, Any] | None:
    """FunctionEventInvokeConfig; None: the function has none but the defaults."""
    config = EventInvokeConfig.model_validate(resource["spec"].get("eventInvokeConfig", {}))
    modified = annotations_of(resource).get(EVENT_INVOKE_MODIFIED)
    if modified is None and config == EventInvokeConfig():
        return None
    wire, namespace = config.to_wire(), resource["metadata"]["namespace"]
    moment = modified or resource["metadata"]["creationTimestamp"]
    return {
        "FunctionArn": arn,
        "LastModified": datetime.fromisoformat(moment).timestamp(),
        **{name: wire[field] for name, field in NUMBERS.items()},
        "DestinationConfig": {
            side: {"Destination": destination_arn(place, region, namespace)} if place else {}
            for side, field in SIDES.items()
            for place in [wire["destinationConfig"].get(field)]
        },
    }
