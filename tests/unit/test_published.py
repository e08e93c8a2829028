"""Which versions can be invoked, as Version resources and their functions come and go."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from funclet.api.function import Function
from funclet.api.version import Version
from funclet.core.published import Published
from funclet.core.qualifiers import LATEST, AliasRoute, function_key, name_of, qualify, resolve, version_of
from funclet.core.revision import Revision, find_revision

SPEC = {"runtime": "python3.13", "handler": "index.h"}


def function(uid: str = "u", **spec: Any) -> Revision:
    active = {"revision": "now", "generation": 2, "codeSha256": "d", "spec": {**SPEC, **spec}}
    wire = {
        "metadata": {"name": "hello", "uid": uid},
        "spec": {**SPEC, "code": {"inline": ""}},
        "status": {"active": active},
    }
    revision = find_revision(Function.model_validate(wire))
    assert revision is not None
    return revision


def version(number: int | None, uid: str = "u", settings: dict[str, Any] | None = None, **spec: Any) -> Version:
    snapshot = {"revision": "then", "generation": 1, "codeSha256": "c", "spec": {**SPEC, **spec}}
    status = {} if number is None else {"version": number, "functionUid": uid, "snapshot": snapshot}
    return Version.model_validate(
        {"metadata": {"name": "v"}, "spec": {"function": {"name": "hello"}, **(settings or {})}, "status": status}
    )


def test_keys() -> None:
    assert qualify("ns/hello", "3") == "ns/hello:3"
    assert qualify("ns/hello", None) == qualify("ns/hello", LATEST) == "ns/hello"
    for key, number in (("ns/hello", LATEST), ("ns/hello:3", "3")):
        assert (function_key(key), name_of(key), version_of(key)) == ("ns/hello", "hello", number)


def test_an_alias_chooses_and_all_else_is_what_it_is() -> None:
    aliases = {"ns/hello:live": AliasRoute("ns/hello:1", "ns/hello:2", 0.5)}
    assert resolve("ns/hello:live", aliases, 0.4) == "ns/hello:2"
    assert resolve("ns/hello:live", aliases, 0.6) == "ns/hello:1"
    assert resolve("ns/hello:7", aliases, 0.4) == "ns/hello:7"
    assert resolve("ns/hello", aliases, 0.4) == "ns/hello"


def test_a_version_is_what_it_was_but_for_what_is_the_functions() -> None:
    published = Published()
    snapshot: dict[str, Any] = {
        "memorySize": 256,
        "provisionedConcurrentExecutions": 5,
        "reservedConcurrentExecutions": 9,
    }
    assert published.put("ns/v", version(3, **snapshot)) == {"default/hello:3"}
    assert published.keys("default/hello") == ["default/hello:3"]
    found = published.find("default/hello:3", function(memorySize=512, reservedConcurrentExecutions=2))
    assert found is not None
    assert (found.key, found.name, found.version) == ("default/hello:3", "hello", "3")
    assert (found.memory_mib, found.code_sha256) == (256, "c")
    assert (found.reserved_concurrency, found.provisioned_concurrency) == (2, 0)


def test_a_version_goes_with_its_function() -> None:
    published = Published()
    published.put("ns/v", version(3))
    assert published.find("default/hello:3", None) is None
    assert published.find("default/hello:3", function(uid="another")) is None


def test_instances_are_kept_ready_for_versions_and_for_aliases_of_them() -> None:
    published = Published()
    published.put("ns/one", version(1, settings={"provisionedConcurrentExecutions": 3}))
    published.put("ns/two", version(2))

    def provisioned() -> list[int]:
        found = (published.find(f"default/hello:{number}", function()) for number in (1, 2))
        return [revision.provisioned_concurrency for revision in found if revision]

    assert provisioned() == [3, 0]
    live = AliasRoute("default/hello:1", provisioned=10)
    assert published.follow("default/hello:live", None, live) == {"default/hello:1"}
    assert provisioned() == [13, 0]
    canary = replace(live, additional="default/hello:2", weight=0.25)
    assert published.follow("default/hello:live", live, canary) == {"default/hello:1", "default/hello:2"}
    assert provisioned() == [11, 2]
    assert published.follow("default/hello:beta", None, AliasRoute("default/hello:2", provisioned=1)) == {
        "default/hello:2"
    }
    assert published.follow("default/hello:live", canary, None) == {"default/hello:1", "default/hello:2"}
    assert provisioned() == [3, 1]


def test_events_sent_to_a_version_fare_as_it_says_or_as_the_function_did() -> None:
    published = Published()
    published.put("ns/one", version(1, eventInvokeConfig={"maximumRetryAttempts": 1}))
    settings = {"eventInvokeConfig": {"maximumRetryAttempts": 0}}
    published.put("ns/two", version(2, settings=settings, eventInvokeConfig={"maximumRetryAttempts": 1}))
    found = [published.find(f"default/hello:{number}", function()) for number in (1, 2)]
    assert [one.event_invoke.maximum_retry_attempts for one in found if one] == [1, 0]


def test_of_versions_with_one_number_the_oldest_ones_settings_count() -> None:
    for order in ((1, 2), (2, 1)):
        published = Published()
        for day in order:
            one = version(1, settings={"provisionedConcurrentExecutions": day})
            created = one.metadata.model_copy(update={"creation_timestamp": datetime(2026, 1, day, tzinfo=UTC)})
            published.put(f"ns/{day}", one.model_copy(update={"metadata": created}))
        found = published.find("default/hello:1", function())
        assert found is not None
        assert found.provisioned_concurrency == 1


def test_what_is_not_published_cannot_be_invoked() -> None:
    published = Published()
    assert published.put("ns/v", version(None)) == set()
    assert published.keys("default/hello") == []


def test_a_version_is_there_while_one_resource_says_it() -> None:
    published = Published()
    published.put("ns/a", version(1))
    published.put("ns/b", version(1))
    assert published.put("ns/a", None) == {"default/hello:1"}
    assert published.find("default/hello:1", function()) is not None
    assert published.put("ns/b", None) == {"default/hello:1"}
    assert published.find("default/hello:1", function()) is None
    assert published.keys("default/hello") == []
    assert published.put("ns/b", None) == set()
