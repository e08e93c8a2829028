"""kopf's part of control: which events it passes on, and as what."""

import pytest

from funclet.adapters.resources import DELETED, UPSERTED, EventType, ResourceEvent
from funclet.control.operator import build_registry, build_settings, translate

OBJECT = {"metadata": {"name": "hello", "namespace": "ns", "uid": "u"}, "spec": {"a": 1}}


@pytest.mark.parametrize(
    ("raw", "expected"), [(None, UPSERTED), ("ADDED", UPSERTED), ("MODIFIED", UPSERTED), ("DELETED", DELETED)]
)
def test_a_raw_event_becomes_one_of_funclets(raw: str | None, expected: EventType) -> None:
    event = translate({"type": raw, "object": OBJECT})
    assert (event.type, event.key) == (expected, "ns/hello")
    assert ("spec" in event.object) == (expected is UPSERTED)


def test_kopf_watches_alone_and_writes_nothing() -> None:
    def observe(kind: str, event: ResourceEvent) -> None:
        raise AssertionError((kind, event))

    settings = build_settings()
    assert settings.peering.standalone
    assert not settings.posting.enabled
    registry = build_registry(observe)
    assert len(registry._watching.get_all_handlers()) == 4
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
