"""What control says of Functions and Triggers, given what it found."""

import re
from typing import Any

import pytest

from funclet.api.function import Function
from funclet.api.function_status import FunctionStatus
from funclet.api.trigger import Trigger
from funclet.core.resolve import (
    RETRIED_REASONS,
    CodeProblem,
    FunctionFacts,
    Package,
    SecretFacts,
    StreamFacts,
    TriggerFacts,
    decide_function,
    decide_invalid_function,
    decide_trigger,
    may_run,
)
from funclet.core.revision import find_revision
from funclet.core.routes import find_holders, find_winner
from funclet.core.sqs_queue import QueueFacts, QueueProblem
from funclet.core.subjects import matches

CODE = Package("c" * 64, 123)
SECRET = {"s": SecretFacts("7", frozenset({"key"}))}


def function(generation: int = 1, status: FunctionStatus | None = None, **spec: Any) -> Function:
    wire = {
        "metadata": {"name": "hello", "uid": "u", "generation": generation},
        "spec": {"runtime": "python3.13", "handler": "index.h", "code": {"inline": "text"}, **spec},
    }
    parsed = Function.model_validate(wire)
    return parsed.model_copy(update={"status": status}) if status else parsed


def reason_of(status: Any) -> tuple[str, str]:
    (condition,) = status.conditions
    return condition.status, condition.reason


WITH_SECRET: dict[str, Any] = {"environment": {"secrets": {"A": {"name": "s", "key": "key"}}}}


def test_a_resolved_function_serves_its_spec_without_its_code() -> None:
    resolved = function(generation=2, **WITH_SECRET, memorySize=256)
    status = decide_function(resolved, FunctionFacts(CODE, SECRET), "t1")
    assert reason_of(status) == ("True", "Resolved")
    assert status.active is not None
    assert "code" not in status.active.spec
    revision = find_revision(resolved.model_copy(update={"status": status}))
    assert revision is not None
    assert (revision.memory_mib, revision.code_sha256, revision.handler) == (256, CODE.sha256, "index.h")


@pytest.mark.parametrize(
    ("facts", "reason", "words"),
    [
        (FunctionFacts(CodeProblem("DigestMismatch", "other"), SECRET), "DigestMismatch", "other"),
        (FunctionFacts(CODE, {"s": None}), "SecretNotFound", "A: there is no Secret s"),
        (FunctionFacts(CODE, {"s": SecretFacts("1", frozenset())}), "SecretNotFound", "has no key key"),
    ],
)
def test_what_is_missing_is_said_and_the_last_good_revision_goes_on(
    facts: FunctionFacts, reason: str, words: str
) -> None:
    first = decide_function(function(**WITH_SECRET), facts, "t1")
    assert reason_of(first) == ("False", reason)
    assert words in first.conditions[0].message
    assert first.active is None
    good = decide_function(function(**WITH_SECRET), FunctionFacts(CODE, SECRET), "t1")
    then = decide_function(function(2, good, **WITH_SECRET), facts, "t2")
    assert then.active == good.active
    assert then.observed_generation == 2
    assert "callers still get generation 1" in then.conditions[0].message


def test_an_invalid_spec_keeps_what_callers_get() -> None:
    good = decide_function(function(), FunctionFacts(CODE, {}), "t1")
    status = decide_invalid_function(good, 5, "spec.timeout: too long", "t2")
    assert reason_of(status) == ("False", "InvalidSpec")
    assert (status.active, status.observed_generation) == (good.active, 5)


def revision_with(facts: FunctionFacts, **spec: Any) -> str:
    active = decide_function(function(**spec), facts, "t").active
    assert active is not None
    return active.revision


def test_what_makes_another_instance_makes_another_revision() -> None:
    base = revision_with(FunctionFacts(CODE, SECRET), **WITH_SECRET)
    newer = {"s": SecretFacts("8", frozenset({"key"}))}
    assert revision_with(FunctionFacts(CODE, newer), **WITH_SECRET) != base
    assert revision_with(FunctionFacts(Package("d" * 64, 1), SECRET), **WITH_SECRET) != base
    assert revision_with(FunctionFacts(CODE, SECRET), **WITH_SECRET, memorySize=256) != base
    scaled = revision_with(FunctionFacts(CODE, SECRET), **WITH_SECRET, scaling={"maxInstances": 5}, description="x")
    assert scaled == base


def trigger(name: str, path: str = "/a", created: str = "2026-01-01T00:00:00Z", **fields: Any) -> Trigger:
    http = {"path": path, **{key: value for key, value in fields.items() if key in ("methods", "host")}}
    spec = {"function": {"name": "hello"}, "http": http, "enabled": fields.get("enabled", True)}
    metadata = {"name": name, "namespace": fields.get("namespace", "default"), "creationTimestamp": created}
    return Trigger.model_validate({"metadata": metadata, "spec": spec})


SERVING = decide_function(function(), FunctionFacts(CODE, {}), "t")


@pytest.mark.parametrize(
    ("subject", "facts", "expected"),
    [
        (trigger("t"), TriggerFacts(SERVING), ("True", "Resolved")),
        (trigger("t"), TriggerFacts(None), ("False", "FunctionNotFound")),
        (trigger("t"), TriggerFacts(FunctionStatus()), ("False", "FunctionNotReady")),
        (trigger("t", enabled=False), TriggerFacts(SERVING), ("False", "Disabled")),
        (trigger("t"), TriggerFacts(SERVING, (trigger("a"),)), ("False", "RouteConflict")),
        (trigger("t", "/2015-03-31/functions"), TriggerFacts(SERVING), ("False", "InvalidSpec")),
        (trigger("t", "/namespaces/x"), TriggerFacts(SERVING), ("False", "InvalidSpec")),
        (trigger("t", "/a/{x}y"), TriggerFacts(SERVING), ("False", "InvalidSpec")),
        (trigger("t", "/{x+}/y"), TriggerFacts(SERVING), ("False", "InvalidSpec")),
        (trigger("t", "/{x}/{x}"), TriggerFacts(SERVING), ("False", "InvalidSpec")),
        (trigger("t", "/{x}/{rest+}"), TriggerFacts(SERVING), ("True", "Resolved")),
    ],
)
def test_the_state_of_a_trigger(subject: Trigger, facts: TriggerFacts, expected: tuple[str, str]) -> None:
    assert reason_of(decide_trigger(subject, facts, "t")) == expected


LATER = "2026-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("one", "rivals", "winner"),
    [
        (trigger("b"), [trigger("a", created=LATER)], None),
        (trigger("a", created=LATER), [trigger("b")], "b"),
        (trigger("b"), [trigger("a")], "a"),
        (trigger("b", "/{x}"), [trigger("a", "/{y}")], "a"),
        (trigger("b", "/{x}"), [trigger("a", "/{y+}")], None),
        (trigger("b", methods=["GET"]), [trigger("a", methods=["POST"])], None),
        (trigger("b", methods=["GET"]), [trigger("a", methods=["GET", "POST"])], "a"),
        (trigger("b", host="x.org"), [trigger("a")], None),
        (trigger("a", namespace="shop"), [trigger("a", namespace="blog")], "a"),
        (trigger("b"), [trigger("a", enabled=False)], None),
        # b (any method) lost to a (GET), so it holds nothing that c (POST) could want
        (trigger("c", methods=["POST"]), [trigger("a", methods=["GET"]), trigger("b")], None),
    ],
)
def test_the_older_trigger_has_the_route(one: Trigger, rivals: list[Trigger], winner: str | None) -> None:
    found = find_winner(one, rivals)
    assert (found.metadata.name if found else None) == winner
    holds = one in find_holders([one, *rivals])
    assert holds is (winner is None), "who gets the requests is who is said to have the route"


def test_a_route_that_was_lost_is_lost_for_all_its_methods() -> None:
    first, second, third = (
        trigger(name, methods=methods)
        for name, methods in (("a", ["GET", "POST"]), ("b", ["GET", "PUT"]), ("c", ["PUT"]))
    )
    assert [holder.metadata.name for holder in find_holders([third, second, first])] == ["a", "c"]


ORDERS = StreamFacts(exists=True, subjects=("orders.>", "returns"))


def sqs_trigger(**spec: Any) -> Trigger:
    source = {"queueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"}
    return Trigger.model_validate(
        {"metadata": {"name": "t"}, "spec": {"function": {"name": "f"}, "sqs": source, **spec}}
    )


@pytest.mark.parametrize(
    ("found", "timeout", "expected", "runs"),
    [
        (QueueFacts("arn", 30), 30, ("True", "Resolved"), True),
        (QueueFacts("arn", 30), None, ("True", "Resolved"), True),
        (QueueFacts("arn", 29), 30, ("False", "VisibilityTimeoutTooShort"), False),
        *(
            (QueueProblem(reason, "m"), 3, ("False", reason), True)
            for reason in ("QueueNotFound", "AccessDenied", "Unreachable", "SecretNotFound")
        ),
    ],
)
def test_the_queue_of_a_trigger(
    found: QueueFacts | QueueProblem, timeout: int | None, expected: tuple[str, str], runs: bool
) -> None:
    status = decide_trigger(sqs_trigger(), TriggerFacts(SERVING, queue=found, timeout_seconds=timeout), "t")
    assert reason_of(status) == expected
    assert may_run(sqs_trigger().model_copy(update={"status": status})) is runs
    assert expected[0] == "True" or expected[1] in RETRIED_REASONS


def queue(subject: str, dead: str | None = None, **spec: Any) -> Trigger:
    source = {"stream": "ORDERS", "subject": subject, "deadLetterSubject": dead}
    given = {"function": {"name": "f"}, "jetstream": source, **spec}
    return Trigger.model_validate({"metadata": {"name": "t"}, "spec": given})


@pytest.mark.parametrize(
    ("subject", "stream", "reason"),
    [
        (queue(">"), ORDERS, "Resolved"),
        (queue(">"), StreamFacts(exists=False), "StreamNotFound"),
        (queue(">", enabled=False), StreamFacts(exists=False), "Disabled"),
        (queue(">"), None, "Resolved"),
        (queue(">", "orders.dead"), ORDERS, "DeadLetterLoop"),
        (queue("orders.*", "orders.dead"), ORDERS, "DeadLetterLoop"),
        (queue("orders.new", "orders.dead"), ORDERS, "Resolved"),
        (queue("orders.*", "orders.dead.new"), ORDERS, "Resolved"),
        (queue(">", "dead.orders"), ORDERS, "Resolved"),
        (queue(">", "orders.dead"), None, "Resolved"),
        (queue(">", "dead.*"), ORDERS, "InvalidSpec"),
        (queue(">", "dead.>"), None, "InvalidSpec"),
    ],
)
def test_the_stream_of_a_trigger(subject: Trigger, stream: StreamFacts | None, reason: str) -> None:
    status = "True" if reason == "Resolved" else "False"
    assert reason_of(decide_trigger(subject, TriggerFacts(SERVING, stream=stream), "t")) == (status, reason)


def test_a_filter_that_cannot_be_understood_is_said() -> None:
    source = {"stream": "S", "filterCriteria": {"filters": [{"pattern": '{"body": "new"}'}]}}
    spec = {"function": {"name": "f"}, "jetstream": source}
    [condition] = decide_trigger(
        Trigger.model_validate({"metadata": {"name": "t"}, "spec": spec}), TriggerFacts(SERVING, stream=ORDERS), "t"
    ).conditions
    assert condition.reason == "InvalidSpec"
    assert condition.message.startswith('spec.jetstream.filterCriteria.filters[0].pattern.body is "new": it must be a')


def test_a_schedule_that_cannot_be_understood_is_said() -> None:
    for expression, reason in (("cron(0 12 * * ? *)", "Resolved"), ("cron(0 24 * * ? *)", "InvalidSpec")):
        spec = {"function": {"name": "f"}, "schedule": {"scheduleExpression": expression}}
        subject = Trigger.model_validate({"metadata": {"name": "t"}, "spec": spec})
        [condition] = decide_trigger(subject, TriggerFacts(SERVING), "t").conditions
        assert condition.reason == reason
    assert condition.message.startswith("spec.schedule.scheduleExpression cron(0 24 * * ? *): 24 is no value of hours")


def test_a_refused_trigger_is_not_run() -> None:
    loop = queue(">", "orders.dead")
    assert may_run(loop)
    refused = decide_trigger(loop, TriggerFacts(SERVING, stream=ORDERS), "t")
    assert not may_run(loop.model_copy(update={"status": refused}))
    missing = decide_trigger(loop, TriggerFacts(SERVING, stream=StreamFacts(exists=False)), "t")
    assert may_run(loop.model_copy(update={"status": missing}))  # events waits for the stream
    assert not may_run(queue(">", enabled=False))


@pytest.mark.parametrize(
    ("pattern", "subject", "taken"),
    [
        (">", "a", True),
        (">", "a.b", True),
        ("a.>", "a", False),
        ("a.>", "a.b.c", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.b", "a", False),
    ],
)
def test_subjects_are_matched_as_nats_does(pattern: str, subject: str, *, taken: bool) -> None:
    assert matches(pattern, subject) is taken


@pytest.mark.parametrize("dead", ["funclet.events.shop.pay", "$JS.API.STREAM.DELETE.ORDERS", "_INBOX.x"])
def test_dead_letters_go_to_no_subject_of_funclets_or_nats_own(dead: str) -> None:
    with pytest.raises(ValueError, match=rf"must not begin with .* not {re.escape(dead)}"):
        queue("orders.>", dead)
