"""What a Lambda function has and a Function's spec has no field for: kept in annotations, as it was given."""

import json
from collections.abc import Mapping
from typing import Any

from funclet.core.management.refusals import invalid

ROLE = "lambda.funclet.dev/role"
TAGS = "lambda.funclet.dev/tags"
LAST_MODIFIED = "lambda.funclet.dev/last-modified"
EVENT_INVOKE_MODIFIED = "lambda.funclet.dev/event-invoke-modified"
"""When PutFunctionEventInvokeConfig was called last: a spec with its defaults does not tell whether it ever was."""

TAGS_LIMIT = 50
"""Lambda's quota of a resource's tags."""


def annotations_of(resource: Mapping[str, Any]) -> dict[str, str]:
    """Those of a resource in its wire form."""
    return dict(resource["metadata"].get("annotations") or {})


def annotate(resource: Mapping[str, Any], values: Mapping[str, str | None]) -> dict[str, Any]:
    """The resource with these annotations; None takes one away."""
    merged = {**annotations_of(resource), **values}
    kept = {name: value for name, value in merged.items() if value is not None}
    return {**resource, "metadata": {**resource["metadata"], "annotations": kept}}


def tags_of(resource: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a function."""
    tags: dict[str, str] = json.loads(annotations_of(resource).get(TAGS, "{}"))
    return tags


def tagged(resource: Mapping[str, Any], tags: Mapping[str, str]) -> dict[str, Any]:
    """The function with these tags and no others."""
    if len(tags) > TAGS_LIMIT:
        raise invalid(f"Tags: a function may have at most {TAGS_LIMIT}, not {len(tags)}")
    return annotate(resource, {TAGS: json.dumps(dict(sorted(tags.items()))) if tags else None})
