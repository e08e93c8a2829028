"""HTTP routes: which Trigger takes a request, by host, path and method.

Order, as API Gateway's HTTP APIs have it: a route for the very host wins over one for any host; then, segment by
segment, a fixed one wins over a parameter, and a parameter over `{rest+}`; the method itself wins over ANY. Of two
equal routes the older wins (the caller adds the older first).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

ANY = "ANY"


@dataclass(frozen=True, slots=True)
class Route:
    """One Trigger's route. `trigger` and `function` are keys; with a qualifier that of the function ends with it."""

    trigger: str
    function: str
    path: str
    methods: Sequence[str]
    host: str | None = None
    qualifier: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """What a request matched. `route_key` is the method (or ANY) and the path as the Trigger has them."""

    route: Route
    route_key: str
    parameters: dict[str, str]


@dataclass(slots=True)
class _Node:
    fixed: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    here: dict[str, Route] = field(default_factory=dict)
    greedy: dict[str, Route] = field(default_factory=dict)


class RouteTable:
    """All routes, ready to be matched."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._hosts: dict[str | None, _Node] = {}
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._hosts.setdefault(route.host, _Node())
        segments = route.path[1:].split("/")
        greedy = _is_greedy(segments[-1])
        for segment in segments[:-1] if greedy else segments:
            node = _child(node, segment)
        methods = node.greedy if greedy else node.here
        for method in route.methods:
            methods.setdefault(method, route)

    def match(self, method: str, host: str, path: str) -> Match | None:
        """The route for this request; `path` is as received (percent-encoded, without query), `host` without port."""
        segments = [unquote(segment) for segment in path[1:].split("/")]
        for name in (host.lower(), None):
            root = self._hosts.get(name)
            found = None if root is None else _find(root, segments, 0, method)
            if found is not None:
                return _describe(*found, segments)
        return None


def _is_greedy(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("+}")


def _is_parameter(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}")


def _child(node: _Node, segment: str) -> _Node:
    if not _is_parameter(segment):
        return node.fixed.setdefault(segment, _Node())
    if node.parameter is None:
        node.parameter = _Node()
    return node.parameter


def _find(node: _Node, segments: Sequence[str], depth: int, method: str) -> tuple[Route, str] | None:
    """Depth first, the most specific branch first; a branch without the method is no match."""
    if depth == len(segments):
        return _by_method(node.here, method)
    segment = segments[depth]
    for child in (node.fixed.get(segment), node.parameter if segment else None):
        found = None if child is None else _find(child, segments, depth + 1, method)
        if found is not None:
            return found
    return _by_method(node.greedy, method) if segment else None


def _by_method(routes: dict[str, Route], method: str) -> tuple[Route, str] | None:
    for name in (method, ANY):
        if name in routes:
            return routes[name], name
    return None


def _describe(route: Route, method: str, segments: Sequence[str]) -> Match:
    parameters: dict[str, str] = {}
    for depth, name in enumerate(route.path[1:].split("/")):
        if _is_greedy(name):
            parameters[name[1:-2]] = "/".join(segments[depth:])
        elif _is_parameter(name):
            parameters[name[1:-1]] = segments[depth]
    return Match(route, f"{method} {route.path}", parameters)
