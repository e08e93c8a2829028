"""botocore's service model of Lambda: which operation a request asks for, with which parameters, and what is wrong."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.loaders import create_loader
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.validate import ParamValidator

from funclet.core.lambda_api import LambdaError, unknown_operation
from funclet.core.management.refusals import Refusal, invalid

_NAMESPACE = re.compile(r"/namespaces/([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)(/.*)")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, understood. `namespace` is None where the path has none."""

    operation: str
    namespace: str | None
    params: dict[str, Any]
    status: int
    """Of the answer, if it goes well."""


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    path: re.Pattern[str]
    operation: OperationModel


class LambdaModel:
    """Reads requests of the operations that are named; all others are unknown."""

    def __init__(self, operations: Iterable[str]) -> None:
        service = ServiceModel(create_loader().load_service_model("lambda", "service-2"), "lambda")
        self._routes = [_route(service.operation_model(name)) for name in operations]

    def read(self, method: str, url: str, body: bytes) -> Asked:
        """Raises a Refusal for what is no operation, or has parameters that cannot be."""
        path, _, query = url.partition("?")
        prefixed = _NAMESPACE.fullmatch(path)
        namespace, path = (prefixed[1], prefixed[2]) if prefixed else (None, path)
        for route in self._routes:
            if route.method == method and (match := route.path.fullmatch(path)):
                params = _params(route.operation, match, query, body)
                return Asked(route.operation.name, namespace, params, route.operation.http["responseCode"])
        raise Refusal(unknown_operation())


def _route(operation: OperationModel) -> _Route:
    """Older clients write some of the paths with a slash at their ends."""
    path = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(operation.http["requestUri"]))
    return _Route(operation.http["method"], re.compile(f"{path}/?"), operation)


def _params(operation: OperationModel, match: re.Match[str], query: str, body: bytes) -> dict[str, Any]:
    shape = operation.input_shape
    given = parse_qs(query, keep_blank_values=True)
    params = {
        name: value for name, member in shape.members.items() if (value := _located(member, match, given)) is not None
    }
    if any("location" not in member.serialization for member in shape.members.values()):
        params |= _document(body)
    report = ParamValidator().validate(params, shape)
    if report.has_errors():
        raise invalid(report.generate_report())
    return params


def _located(member: Shape, match: re.Match[str], query: dict[str, list[str]]) -> Any:
    """A parameter of the path or the query; None: it is neither, or is not given."""
    name = member.serialization.get("name", "")
    match member.serialization.get("location"):
        case "uri":
            return unquote(match[name])
        case "querystring":
            return _parsed(member, name, query[name]) if name in query else None
        case _:
            return None


def _parsed(member: Shape, name: str, values: list[str]) -> Any:
    if member.type_name == "list":
        return values
    if member.type_name == "integer":
        try:
            return int(values[0])
        except ValueError:
            raise invalid(f"{name} is {values[0]!r}; it must be a number") from None
    return values[0]


def _document(body: bytes) -> dict[str, Any]:
    """The body's members; an absent member and null are the same to every client."""
    if not body:
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _unreadable(str(error)) from error
    if not isinstance(document, dict):
        raise _unreadable("it must be an object")
    return {name: value for name, value in document.items() if value is not None}


def _unreadable(why: str) -> Refusal:
    message = f"Could not parse request body into json: {why}"
    return Refusal(LambdaError(400, "InvalidRequestContentException", message, text_member="message"))
