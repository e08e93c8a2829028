"""Aliases: from Lambda's parameters to an Alias's spec, and back."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from funclet.api.alias import Alias, AliasSpec
from funclet.core.management.configuration import revision_id
from funclet.core.management.refusals import invalid
from funclet.core.validation import describe

STEM_LIMIT = 54
"""Of a resource's name: 63 characters with a hyphen and eight digits."""


def resource_name(function: str, alias: str) -> str:
    """The Alias resource's name: what people recognise, and a digest, since names of aliases have capitals and _."""
    stem = re.sub("[^a-z0-9-]", "-", f"{function}-{alias}".lower())[:STEM_LIMIT].rstrip("-")
    digest = hashlib.sha256(f"{function}:{alias}".encode()).hexdigest()[:8]
    return f"{stem}-{digest}"


def changed_alias(spec: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with what the parameters say; what they leave out stays. Raises a Refusal for what cannot be."""
    changed = dict(spec)
    for parameter, field in (("FunctionVersion", "functionVersion"), ("Description", "description")):
        if parameter in params:
            changed[field] = params[parameter]
    if (routing := params.get("RoutingConfig")) is not None:
        changed["routingConfig"] = {"additionalVersionWeights": routing.get("AdditionalVersionWeights") or {}}
    try:
        AliasSpec.model_validate(changed)
    except ValidationError as error:
        raise invalid(describe(error)) from error
    return changed


def alias_answer(alias: Alias, arn: str) -> dict[str, Any]:
    """AliasConfiguration."""
    spec = alias.spec
    weights = spec.routing_config.additional_version_weights
    return {
        "AliasArn": arn,
        "Name": spec.name,
        "FunctionVersion": spec.function_version,
        "Description": spec.description,
        "RevisionId": revision_id(alias.metadata),
        **({"RoutingConfig": {"AdditionalVersionWeights": weights}} if weights else {}),
    }
