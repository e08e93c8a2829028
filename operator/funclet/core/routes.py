"""What an HTTP Trigger's path may be, and when two of them are the same route."""

import re
from collections.abc import Iterable

from funclet.api.trigger import HttpSource

RouteKey = tuple[str, str]
"""Host (empty: any) and path, with the names of parameters left out."""

PARAMETER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")
REST = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\+\}")

LAMBDA_API_PATH = re.compile(r"\d{4}-\d{2}-\d{2}")
"""First segment of all paths of Lambda's API: a date, 2015-03-31 for Invoke."""


def http_problem(http: HttpSource | None) -> str:
    """What is wrong with the path; empty when nothing is (or there is no HTTP source)."""
    if http is None:
        return ""
    segments = http.path.removeprefix("/").split("/")
    if LAMBDA_API_PATH.fullmatch(segments[0]) or segments[0] == "namespaces":
        return f"http.path {http.path}: paths under /{segments[0]} belong to the Lambda API: take another one"
    return next((message for message in map(_segment_problem, segments) if message), "") or _rest_problem(segments)


def _segment_problem(segment: str) -> str:
    if "{" in segment and not PARAMETER.fullmatch(segment) and not REST.fullmatch(segment):
        return f"http.path: {segment} mixes text and a parameter: a parameter must be a whole segment"
    return ""


def _rest_problem(segments: list[str]) -> str:
    if any(REST.fullmatch(segment) for segment in segments[:-1]):
        return "http.path: a parameter with + takes all that follows, so it must be the last segment"
    names = [segment.strip("{}+") for segment in segments if segment.startswith("{")]
    if len(names) != len(set(names)):
        return "http.path: two parameters have the same name"
    return ""


def route_key(http: HttpSource) -> RouteKey:
    """Two sources with the same key and a method in common want the same requests."""
    return http.host or "", REST.sub("{+}", PARAMETER.sub("{}", http.path))


def methods_overlap(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether a request can have a method of both."""
    first, second = set(one), set(other)
    return "ANY" in first | second or bool(first & second)
