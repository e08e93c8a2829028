"""From what a resource wants and what was found for it to its status.

A Function whose newest spec can't be resolved keeps `active`, and so goes on serving what it served.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from funclet.api.code import KeyReference
from funclet.api.function import Function, FunctionSpec
from funclet.api.function_status import ActiveLayer, ActiveRevision, FunctionStatus
from funclet.api.reference import QualifiedReference
from funclet.api.trigger import JetStreamSource, Trigger, TriggerSpec, TriggerStatus
from funclet.core.conditions import READY, Finding, find, settle
from funclet.core.event_filter import filter_problem
from funclet.core.qualifiers import LATEST, qualify
from funclet.core.revision import revision_digest
from funclet.core.routes import find_winner, http_problem
from funclet.core.schedule import schedule_problem
from funclet.core.sqs_queue import QUEUE_PROBLEMS, VISIBILITY_TOO_SHORT, QueueFacts, QueueProblem, judge_queue
from funclet.core.subjects import has_wildcard, matches

STREAM_NOT_FOUND = "StreamNotFound"
DEAD_LETTER_LOOP = "DeadLetterLoop"
"""Each dead letter would be delivered to the Trigger again."""
REFUSED_REASONS = frozenset({DEAD_LETTER_LOOP, VISIBILITY_TOO_SHORT})
"""Such a Trigger is not run."""

RETRIED_REASONS = frozenset(
    {
        "CodeNotFound",
        "CodeUnreachable",
        "DigestMismatch",
        "SecretNotFound",
        "PackageStoreUnavailable",
        STREAM_NOT_FOUND,
        DEAD_LETTER_LOOP,
        "RuntimeNotFound",
        VISIBILITY_TOO_SHORT,
        *QUEUE_PROBLEMS,
    }
)
"""What may become right without a change of the Function or Trigger itself."""


@dataclass(frozen=True, slots=True)
class Package:
    """Code that is in the package store."""

    sha256: str
    size_bytes: int
    layers: tuple["Package", ...] = ()
    """What belongs to it, in the order of spec.layers."""


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A container image: whoever starts it gets it from its registry."""

    uri: str


@dataclass(frozen=True, slots=True)
class CodeProblem:
    """Why there is no package; the reason is one of FunctionStatus's."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """What control may know of a Secret: its version and the names of its keys, never a value."""

    resource_version: str
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class FunctionFacts:
    """What was found for a Function. `secrets` has every Secret that the spec names; None is one that is not there."""

    code: Package | ImageReference | CodeProblem
    secrets: Mapping[str, SecretFacts | None]


def secret_names(spec: FunctionSpec) -> frozenset[str]:
    """The Secrets that a spec names."""
    return frozenset(reference.name for reference in spec.environment.secrets.values())


def decide_function(function: Function, facts: FunctionFacts, now: str) -> FunctionStatus:
    """The status of a Function. `now` is RFC 3339."""
    previous, generation = function.status, function.metadata.generation
    finding = _judge_function(function, facts)
    active = previous.active
    if finding.holds and not isinstance(facts.code, CodeProblem):
        active = _activate(function, facts.code, facts.secrets)
    return FunctionStatus(
        observed_generation=generation,
        conditions=settle(previous.conditions, READY, finding, generation=generation, now=now),
        active=active,
        last_version=previous.last_version,
        instances=previous.instances,
    )


def decide_invalid_function(previous: FunctionStatus, generation: int, message: str, now: str) -> FunctionStatus:
    """The status of a Function whose spec says what can't be: it goes on with what it had."""
    finding = _still_serving(Finding(False, "InvalidSpec", message), previous.active)
    conditions = settle(previous.conditions, READY, finding, generation=generation, now=now)
    return previous.model_copy(update={"observed_generation": generation, "conditions": conditions})


def _judge_function(function: Function, facts: FunctionFacts) -> Finding:
    if isinstance(facts.code, CodeProblem):
        return _still_serving(Finding(False, facts.code.reason, facts.code.message), function.status.active)
    for variable, reference in sorted(function.spec.environment.secrets.items()):
        if message := _secret_problem(variable, reference, facts.secrets.get(reference.name)):
            return _still_serving(Finding(False, "SecretNotFound", message), function.status.active)
    return Finding(True, "Resolved", "The newest spec is what callers get.")


def _still_serving(finding: Finding, active: ActiveRevision | None) -> Finding:
    if active is None:
        return finding
    suffix = f" (callers still get generation {active.generation})"
    return Finding(False, finding.reason, finding.message + suffix)


def _secret_problem(variable: str, reference: KeyReference, secret: SecretFacts | None) -> str:
    if secret is None:
        return f"{variable}: there is no Secret {reference.name}: create it, or change environment.secrets"
    if reference.key not in secret.keys:
        return (
            f"{variable}: the Secret {reference.name} has no key {reference.key}: add it, or change environment.secrets"
        )
    return ""


def _activate(
    function: Function, code: Package | ImageReference, secrets: Mapping[str, SecretFacts | None]
) -> ActiveRevision:
    resolved = resolved_spec(function.spec)
    versions = {name: secret.resource_version for name, secret in secrets.items() if secret}
    if isinstance(code, ImageReference):
        return ActiveRevision(
            revision=revision_digest(function.metadata.uid, resolved, [code.uri], versions),
            generation=function.metadata.generation,
            image_uri=code.uri,
            spec=resolved,
        )
    package = code
    digests = [*(layer.sha256 for layer in package.layers), package.sha256]
    return ActiveRevision(
        revision=revision_digest(function.metadata.uid, resolved, digests, versions),
        generation=function.metadata.generation,
        code_sha256=package.sha256,
        code_size=package.size_bytes,
        layers=[ActiveLayer(sha256=layer.sha256, size=layer.size_bytes) for layer in package.layers],
        spec=resolved,
    )


def resolved_spec(spec: FunctionSpec) -> dict[str, Any]:
    """The spec with its defaults and without its code and layers, in its wire form."""
    return {name: value for name, value in spec.to_wire().items() if name not in ("code", "layers")}


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """Whether a stream exists, and the subjects that it holds (patterns)."""

    exists: bool
    subjects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TriggerFacts:
    """What was found for a Trigger: its Function's status (None: not there), and the other Triggers of its route.

    `stream` is None when the Trigger has none, or when nothing could be learned about it.
    """

    function: FunctionStatus | None
    rivals: tuple[Trigger, ...] = ()
    stream: StreamFacts | None = None
    qualifiers: frozenset[str] = frozenset()
    """The versions and aliases of the Function."""
    queue: QueueFacts | QueueProblem | None = None
    """None when the Trigger has none."""
    timeout_seconds: int | None = None
    """The longest of the versions that the Trigger may invoke."""


def decide_trigger(trigger: Trigger, facts: TriggerFacts, now: str) -> TriggerStatus:
    """The status of a Trigger. `now` is RFC 3339."""
    return settle_trigger(trigger.status, trigger.metadata.generation, judge_trigger(trigger, facts), now)


def settle_trigger(previous: TriggerStatus, generation: int, finding: Finding, now: str) -> TriggerStatus:
    """The status that says this finding."""
    conditions = settle(previous.conditions, READY, finding, generation=generation, now=now)
    return TriggerStatus(observed_generation=generation, conditions=conditions)


def judge_trigger(trigger: Trigger, facts: TriggerFacts) -> Finding:
    """Whether events reach the function, and if not, the first thing to change."""
    if message := _spec_problem(trigger.spec):
        return Finding(False, "InvalidSpec", message)
    if not trigger.spec.enabled:
        return Finding(False, "Disabled", "spec.enabled is false: set it to true to let events through.")
    if winner := find_winner(trigger, facts.rivals):
        return Finding(False, "RouteConflict", _conflict_message(trigger, winner))
    if trigger.spec.jetstream and facts.stream and (problem := _judge_stream(trigger.spec.jetstream, facts.stream)):
        return problem
    if (
        trigger.spec.sqs
        and facts.queue
        and (problem := judge_queue(trigger.spec.sqs, facts.queue, facts.timeout_seconds))
    ):
        return problem
    return _judge_target(trigger.spec.function, facts)


def _spec_problem(spec: TriggerSpec) -> str:
    queue = spec.jetstream
    about_queue = _dead_letter_problem(queue) or filter_problem(queue, "jetstream") or filter_problem(spec.sqs, "sqs")
    return http_problem(spec.http) or about_queue or schedule_problem(spec.schedule)


def _dead_letter_problem(source: JetStreamSource | None) -> str:
    if source is None or source.dead_letter_subject is None or not has_wildcard(source.dead_letter_subject):
        return ""
    return (
        f"spec.jetstream.deadLetterSubject is {source.dead_letter_subject}; it must be one subject, without * and >: "
        "messages are published to it"
    )


def _judge_stream(source: JetStreamSource, stream: StreamFacts) -> Finding | None:
    if not stream.exists:
        message = f"there is no stream {source.stream}: create it, or change spec.jetstream.stream"
        return Finding(False, STREAM_NOT_FOUND, message)
    dead = source.dead_letter_subject
    held = dead is not None and any(matches(subject, dead) for subject in stream.subjects)
    if dead is None or not held or not matches(source.subject, dead):
        return None
    return Finding(
        False,
        DEAD_LETTER_LOOP,
        f"spec.jetstream.deadLetterSubject is {dead}, which is in the stream {source.stream} and taken by "
        f"spec.jetstream.subject {source.subject}, so that each dead letter would come back: choose a subject that "
        "this Trigger does not read",
    )


def may_run(trigger: Trigger) -> bool:
    """Whether events may take this Trigger's messages: it is enabled, and control has not refused it."""
    ready = find(trigger.status.conditions, READY)
    return trigger.spec.enabled and (ready is None or ready.reason not in REFUSED_REASONS)


def invoked_by(trigger: Trigger) -> str:
    """The key of the Trigger's function, or the name of its version or alias after it."""
    reference = trigger.spec.function
    return qualify(f"{trigger.metadata.namespace}/{reference.name}", reference.qualifier)


def _judge_target(reference: QualifiedReference, facts: TriggerFacts) -> Finding:
    name, qualifier = reference.name, reference.qualifier
    if facts.function is None:
        return Finding(
            False, "FunctionNotFound", f"there is no Function {name}: create it, or change spec.function.name"
        )
    if facts.function.active is None:
        return Finding(False, "FunctionNotReady", f"the Function {name} serves nothing yet: see its condition Ready")
    if qualifier not in (None, LATEST, *facts.qualifiers):
        there = ", ".join(sorted(facts.qualifiers)) or "none"
        message = (
            f"spec.function.qualifier is {qualifier}, and {name} has no such version or alias (there are: {there})"
        )
        return Finding(False, "QualifierNotFound", f"{message}: publish it, or name another one")
    return Finding(True, "Resolved", "Events reach the function.")


def _conflict_message(trigger: Trigger, winner: Trigger) -> str:
    assert trigger.spec.http is not None
    other = f"{winner.metadata.namespace}/{winner.metadata.name}"
    return f"the older Trigger {other} has the route {trigger.spec.http.path} already: change path, methods or host"
