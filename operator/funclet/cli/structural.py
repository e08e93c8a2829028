"""From pydantic's JSON schema to a structural one, as Kubernetes wants it in a CRD.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

DROPPED = {"title", "$defs", "patternProperties", "propertyNames", "$ref", "anyOf", "const"}
"""What Kubernetes does not know, or what is rewritten here."""

INT32_LIMIT = 2**31 - 1


def structural_schema(model: type[BaseModel]) -> Schema:
    """The schema of a model by alias, with all references inlined."""
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.get("$defs", {}))


def _convert(schema: Schema, definitions: Schema) -> Schema:
    schema = _without_null(_inline(schema, definitions))
    if "$ref" in schema:
        schema = _inline(schema, definitions)
    converted = {name: value for name, value in schema.items() if name not in DROPPED}
    if "const" in schema:
        converted["enum"] = [schema["const"]]
    if schema.get("type") == "integer":
        converted["format"] = "int32" if schema.get("maximum", INT32_LIMIT + 1) <= INT32_LIMIT else "int64"
    if isinstance(schema.get("additionalProperties"), bool):
        del converted["additionalProperties"]
    elif "additionalProperties" in schema:
        converted["additionalProperties"] = _convert(schema["additionalProperties"], definitions)
    if "patternProperties" in schema:
        _convert_map(schema, converted, definitions)
    if "items" in schema:
        converted["items"] = _convert(schema["items"], definitions)
    if "properties" in schema:
        _convert_properties(schema, converted, definitions)
    return converted


def _inline(schema: Schema, definitions: Schema) -> Schema:
    """The definition that a reference names; what stands beside the reference (a description) wins."""
    if "$ref" not in schema:
        return schema
    definition = definitions[schema["$ref"].rpartition("/")[2]]
    return {**definition, **{name: value for name, value in schema.items() if name != "$ref"}}


def _without_null(schema: Schema) -> Schema:
    """`X | None` is an optional X: in Kubernetes a field is absent, never null."""
    if "anyOf" not in schema:
        return schema
    (real,) = [option for option in schema["anyOf"] if option.get("type") != "null"]
    beside = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return {**real, **beside}


def _convert_map(schema: Schema, converted: Schema, definitions: Schema) -> None:
    """A map whose keys have a form: Kubernetes has no propertyNames, so a CEL rule says it."""
    ((pattern, values),) = schema["patternProperties"].items()
    longest = schema.get("propertyNames", {}).get("maxLength", 253)
    converted["additionalProperties"] = _convert(values, definitions)
    converted["x-kubernetes-validations"] = [
        *schema.get("x-kubernetes-validations", []),
        {
            "rule": f"self.all(name, size(name) <= {longest} && name.matches('{pattern}'))",
            "message": f"names must have at most {longest} characters and match {pattern}",
        },
    ]


def _convert_properties(schema: Schema, converted: Schema, definitions: Schema) -> None:
    required = schema.get("required", [])
    converted["properties"] = properties = {}
    for name, value in schema["properties"].items():
        properties[name] = _convert(value, definitions)
        if "$ref" in value and name not in required and not properties[name].get("required"):
            properties[name]["default"] = {}  # so that the defaults below it are filled in when it is absent
