"""Which versions can be invoked, as Version resources and their functions come and go."""

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


def version(number: int | None, uid: str = "u", **spec: Any) -> Version:
    snapshot = {"revision": "then", "generation": 1, "codeSha256": "c", "spec": {**SPEC, **spec}}
    status = {} if number is None else {"version": number, "functionUid": uid, "snapshot": snapshot}
    return Version.model_validate(
        {"metadata": {"name": "v"}, "spec": {"function": {"name": "hello"}}, "status": status}
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
