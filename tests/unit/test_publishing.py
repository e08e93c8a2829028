"""What control says of Versions and Aliases, given what it found."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from funclet.api.alias import Alias
from funclet.api.function_status import ActiveRevision, FunctionStatus
from funclet.api.meta import Condition
from funclet.api.version import Version
from funclet.core.publishing import (
    AliasFacts,
    KnownFunction,
    VersionFacts,
    alias_key,
    decide_alias,
    decide_held,
    decide_published,
    decide_version,
    find_route,
    leads_to,
)
from funclet.core.qualifiers import AliasRoute

CODE, OTHER = "c" * 64, "d" * 64


def active(code: str = CODE, generation: int = 1, **spec: Any) -> ActiveRevision:
    spec = {"runtime": "python3.13", "handler": "index.h", **spec}
    return ActiveRevision(revision="r", generation=generation, code_sha256=code, spec=spec)


def known(snapshot: ActiveRevision | None, last_version: int = 0, ready: bool = True, uid: str = "u") -> KnownFunction:
    holds = "True" if ready else "False"
    condition = Condition(type="Ready", status=holds, reason="Resolved", last_transition_time="t0")
    status = FunctionStatus(
        observed_generation=snapshot.generation if snapshot else 1,
        conditions=[condition],
        active=snapshot,
        last_version=last_version,
    )
    return KnownFunction(uid, status)


def version(name: str = "one", **spec: Any) -> Version:
    wire = {"metadata": {"name": name, "uid": name}, "spec": {"function": {"name": "hello"}, **spec}}
    return Version.model_validate(wire)


def published(function: KnownFunction, *others: Version, name: str = "one") -> Version:
    """A Version after its publication, which must succeed."""
    one = version(name)
    status = decide_version(one, VersionFacts(function, 1, others), "t1").status
    assert reason_of(status) == "Published"
    return one.model_copy(update={"status": status})


def reason_of(status: Any) -> str:
    (condition,) = status.conditions
    return str(condition.reason)


def message_of(status: Any) -> str:
    (condition,) = status.conditions
    return str(condition.message)


def test_the_first_version_is_1_and_keeps_what_the_function_was() -> None:
    snapshot = active(memorySize=256)
    publication = decide_version(version(), VersionFacts(known(snapshot), 1), "t1")
    assert publication.is_new
    assert (publication.status.version, publication.status.function_uid) == (1, "u")
    assert publication.status.snapshot == snapshot
    assert message_of(publication.status) == "Callers invoke it as hello:1."


def test_nothing_changed_gives_the_last_version_again() -> None:
    function = known(active())
    first = published(function)
    publication = decide_version(version("two"), VersionFacts(function, 1, (first,)), "t1")
    assert (publication.is_new, publication.status.version) == (False, 1)
    assert "Nothing of the function has changed" in message_of(publication.status)


@pytest.mark.parametrize(
    ("changed", "number"),
    [
        (active(OTHER), 2),
        (active(memorySize=256), 2),
        (active(description="a better one"), 2),
        (active(generation=7), 1),
        (active(reservedConcurrentExecutions=3), 1),
        (active(recursiveLoop="Allow"), 1),
        (active(provisionedConcurrentExecutions=3), 1),
    ],
)
def test_what_makes_another_version(changed: ActiveRevision, number: int) -> None:
    first = published(known(active()))
    function = known(changed, last_version=1)
    status = decide_version(version("two"), VersionFacts(function, 1, (first,)), "t1").status
    assert status.version == number


def test_only_the_last_version_is_compared_with() -> None:
    first = published(known(active()))
    second = published(known(active(OTHER), 1), first, name="two")
    assert second.status.version == 2
    back = decide_version(version("three"), VersionFacts(known(active(), 2), 1, (first, second)), "t1")
    assert back.status.version == 3


def test_a_number_never_comes_again() -> None:
    publication = decide_version(version(), VersionFacts(known(active(), last_version=4), 1), "t1")
    assert publication.status.version == 5
    first = published(known(active()))
    forgotten = known(active(OTHER), last_version=0)  # local mode keeps no status over a restart
    assert decide_version(version("two"), VersionFacts(forgotten, 1, (first,)), "t1").status.version == 2


def test_another_function_of_that_name_begins_anew() -> None:
    first = published(known(active(), last_version=3))
    assert first.status.version == 4
    publication = decide_version(version("two"), VersionFacts(known(active(), uid="another"), 1, (first,)), "t1")
    assert publication.status.version == 1


@pytest.mark.parametrize(
    ("facts", "reason", "words"),
    [
        (VersionFacts(None, None), "FunctionNotFound", "there is no Function hello"),
        (VersionFacts(known(active()), None), "FunctionNotFound", "there is no Function hello"),
        (VersionFacts(known(None), 1), "FunctionNotReady", "see its condition Ready"),
        (VersionFacts(known(active(), ready=False), 1), "FunctionNotReady", "see its condition Ready"),
        (VersionFacts(known(active(generation=1)), 2), "FunctionNotReady", "see its condition Ready"),
    ],
)
def test_what_cannot_be_published_says_why(facts: VersionFacts, reason: str, words: str) -> None:
    publication = decide_version(version(), facts, "t1")
    assert (reason_of(publication.status), publication.is_new) == (reason, False)
    assert words in message_of(publication.status)
    assert publication.status.snapshot is None


def test_a_version_of_certain_code_waits_for_it() -> None:
    wanted = version(codeSha256=OTHER)
    status = decide_version(wanted, VersionFacts(known(active(CODE)), 1), "t1").status
    assert reason_of(status) == "CodeSha256Mismatch"
    assert OTHER in message_of(status)
    assert CODE in message_of(status)
    assert decide_version(wanted, VersionFacts(known(active(OTHER)), 1), "t1").status.version == 1


def test_what_is_published_stays_but_for_the_values_of_its_secrets() -> None:
    secrets: dict[str, Any] = {"environment": {"secrets": {"A": {"name": "s", "key": "k"}}}}
    function = known(active(**secrets))
    one = published(function)
    later = known(active(OTHER))
    status = decide_published(one, later, {"s": "7"}, "t2")
    assert status.snapshot is not None
    assert (status.version, status.snapshot.code_sha256) == (1, CODE)
    settled = one.model_copy(update={"status": status})
    assert decide_published(settled, later, {"s": "7"}, "t3") == status
    rotated = decide_published(settled, later, {"s": "8"}, "t3")
    assert rotated.snapshot is not None
    assert rotated.snapshot.revision != status.snapshot.revision


def test_a_version_without_its_function_says_so() -> None:
    one = published(known(active()))
    assert reason_of(decide_published(one, None, {}, "t2")) == "FunctionNotFound"
    assert reason_of(decide_published(one, known(active(), uid="another"), {}, "t2")) == "FunctionNotFound"


# --- aliases ---


def alias(name: str = "live", version: str = "1", weights: dict[str, float] | None = None, **metadata: Any) -> Alias:
    spec: dict[str, Any] = {"function": {"name": "hello"}, "name": name, "functionVersion": version}
    if weights is not None:
        spec["routingConfig"] = {"additionalVersionWeights": weights}
    return Alias.model_validate({"metadata": {"name": f"hello-{name}", **metadata}, "spec": spec})


FACTS = AliasFacts(has_function=True, versions={1: active(), 2: active(OTHER)})


def settled(one: Alias, facts: AliasFacts = FACTS) -> Alias:
    return one.model_copy(update={"status": decide_alias(one, facts, "t1")})


def test_an_alias_leads_to_a_version() -> None:
    one = settled(alias())
    assert reason_of(one.status) == "Resolved"
    assert alias_key(one) == "default/hello:live"
    assert find_route(one) == AliasRoute("default/hello:1")
    assert find_route(settled(alias(version="$LATEST"))) == AliasRoute("default/hello")
    assert find_route(alias()) is None


def test_an_alias_shares_out_by_chance() -> None:
    one = settled(alias(weights={"2": 0.1}))
    assert one.status.active is not None
    assert one.status.active.to_wire() == {
        "functionVersion": "1", "additionalVersion": "2", "additionalWeight": 0.1,
    }  # fmt: skip
    alone = settled(alias().model_copy(update={"status": one.status})).status.active
    assert alone is not None
    assert alone.to_wire() == {"functionVersion": "1"}
    route = find_route(one)
    assert route == AliasRoute("default/hello:1", "default/hello:2", 0.1)
    assert [route.choose(chance) for chance in (0.0, 0.09, 0.1, 0.99)] == [
        "default/hello:2", "default/hello:2", "default/hello:1", "default/hello:1",
    ]  # fmt: skip
    assert route.heavier == "default/hello:1"
    assert replace(route, weight=0.9).heavier == "default/hello:2"
    assert replace(route, weight=0.0).choose(0.0) == "default/hello:1"
    assert replace(route, weight=1.0).choose(0.999) == "default/hello:2"


def test_two_versions_of_an_alias_have_the_same_dead_letters() -> None:
    targets = [active(deadLetterConfig={"target": {"subject": subject}}) for subject in ("lost", "lost", "found")]
    facts = AliasFacts(has_function=True, versions={1: active(), **dict(enumerate(targets, 2))})
    assert reason_of(decide_alias(alias(version="2", weights={"3": 0.1}), facts, "t1")) == "Resolved"
    before = settled(alias(version="4"), facts)
    for version, other in (("4", "3"), ("4", "1"), ("1", "4")):
        one = alias(version=version, weights={other: 0.1}).model_copy(update={"status": before.status})
        status = decide_alias(one, facts, "t1")
        assert (reason_of(status), status.active) == ("DeadLetterConfigMismatch", before.status.active)
    assert reason_of(decide_alias(alias(version="1"), facts, "t1")) == "Resolved"


@pytest.mark.parametrize(
    ("one", "field"),
    [
        (alias(version="7"), "spec.functionVersion names version 7"),
        (alias(weights={"7": 0.5}), "spec.routingConfig.additionalVersionWeights names version 7"),
    ],
)
def test_an_alias_to_no_version_names_field_value_and_what_there_is(one: Alias, field: str) -> None:
    status = decide_alias(one, FACTS, "t1")
    assert (reason_of(status), status.active) == ("VersionNotFound", None)
    assert field in message_of(status)
    assert "there are: 1, 2" in message_of(status)


def test_an_alias_goes_on_while_its_newest_spec_cannot_be_followed() -> None:
    before = settled(alias())
    after = alias(version="7").model_copy(update={"status": before.status})
    status = decide_alias(after, FACTS, "t2")
    assert reason_of(status) == "VersionNotFound"
    assert "callers still get version 1" in message_of(status)
    assert status.active == before.status.active


def test_an_alias_whose_version_was_deleted_says_so() -> None:
    status = decide_alias(settled(alias()), AliasFacts(has_function=True, versions={2: active()}), "t2")
    assert reason_of(status) == "VersionNotFound"
    assert "callers still get" not in message_of(status)


def test_a_version_that_aliases_lead_to_says_what_its_deletion_waits_for() -> None:
    first = published(known(active()))
    second = published(known(active(OTHER), 1), first, name="two")
    both, one = settled(alias(weights={"2": 0.1})), settled(alias(version="2"))
    assert [leads_to(two, version) for two in (both, one) for version in (first, second)] == [True, True, False, True]
    assert not leads_to(alias(), first), "callers of this alias get nothing yet"
    status = decide_held(first, ["live", "beta"], "t2")
    assert (reason_of(status), status.version) == ("Published", 1)
    assert "point live, beta elsewhere" in message_of(status)


def test_of_two_aliases_of_one_name_the_older_is_it() -> None:
    older = settled(alias(creationTimestamp="2026-01-01T00:00:00Z"))
    younger = alias(creationTimestamp="2026-01-02T00:00:00Z").model_copy(update={"status": older.status})
    assert reason_of(decide_alias(older, replace(FACTS, rivals=(younger,)), "t1")) == "Resolved"
    lost = decide_alias(younger, replace(FACTS, rivals=(older,)), "t1")
    assert (reason_of(lost), lost.active) == ("AliasConflict", None)


def test_an_alias_without_its_function_says_so() -> None:
    assert reason_of(decide_alias(alias(), AliasFacts(has_function=False, versions={}), "t1")) == "FunctionNotFound"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": "123"}, "name must not be digits alone: these are the numbers of versions, not '123'"),
        ({"name": "$LATEST"}, "String should match pattern"),
        ({"version": "latest"}, "String should match pattern"),
        ({"version": "0"}, "String should match pattern"),
        ({"weights": {"2": 1.1}}, "less than or equal to 1"),
        ({"weights": {"2": -0.1}}, "greater than or equal to 0"),
        ({"weights": {"2": 0.1, "3": 0.1}}, "at most 1 item"),
        ({"weights": {"beta": 0.1}}, "String should match pattern"),
        ({"weights": {"1": 0.1}}, "must name another version than functionVersion, not 1"),
        ({"version": "$LATEST", "weights": {"2": 0.1}}, "$LATEST takes no part"),
    ],
)
def test_an_alias_that_cannot_be(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words.replace("$", r"\$").replace("(", r"\(")):
        alias(**given)
