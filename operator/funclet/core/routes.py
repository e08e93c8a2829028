"""What an HTTP Trigger's path may be, when two of them are the same route, and who has it then: in all namespaces."""

import re
from collections.abc import Iterable

from funclet.api.trigger import HttpSource, Trigger

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


def find_winner(trigger: Trigger, rivals: Iterable[Trigger]) -> Trigger | None:
    """The Trigger that has this one's route; None when this one has it.

    Routes are given out by age (creationTimestamp, then namespace and name): each Trigger gets its route unless one
    that got its own before overlaps. Disabled ones take no part.
    """
    holders: list[Trigger] = []
    for candidate in sorted([trigger, *rivals], key=_age):
        winner = next((holder for holder in holders if _collide(candidate, holder)), None)
        if candidate is trigger:
            return winner
        if winner is None and candidate.spec.enabled:
            holders.append(candidate)
    return None


def route_of(trigger: Trigger) -> RouteKey | None:
    """The route of an HTTP Trigger, without its methods."""
    return route_key(trigger.spec.http) if trigger.spec.http else None


def _age(trigger: Trigger) -> tuple[float, str, str]:
    created = trigger.metadata.creation_timestamp
    return (created.timestamp() if created else float("inf"), trigger.metadata.namespace, trigger.metadata.name)


def _collide(one: Trigger, other: Trigger) -> bool:
    if one.spec.http is None or other.spec.http is None or route_of(one) != route_of(other):
        return False
    return methods_overlap(one.spec.http.methods, other.spec.http.methods)


def find_holders(triggers: Iterable[Trigger]) -> list[Trigger]:
    """The Triggers that have their routes, the older first: all that `find_winner` finds no winner over."""
    holders: dict[RouteKey, list[Trigger]] = {}
    found = []
    for trigger in sorted(triggers, key=_age):
        if (key := route_of(trigger)) is None or not trigger.spec.enabled:
            continue
        same = holders.setdefault(key, [])
        if not any(_collide(trigger, holder) for holder in same):
            same.append(trigger)
            found.append(trigger)
    return found
